/// A forward noising process over token rows and its reverse: mathematics on tokens and probabilities, no network.
/// Austin et al., "Structured Denoising Diffusion Models in Discrete State-Spaces", arXiv:2107.03006.
#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "runtime/random.h"

namespace tessera {

/// Tokens after t forward steps.
struct Noised {
  torch::Tensor tokens;   // [N, L] int64
  torch::Tensor changed;  // [N, L] bool: the cells that the process has taken (absorbing: MASK)
};

class Process {
 public:
  virtual ~Process() = default;
  virtual std::int64_t codebook_size() const = 0;  // K
  virtual std::int64_t total_steps() const = 0;    // T
  /// Draws xt of q(xt | x0). In: x0 [N, L] int64, t [N] int64 in 0..T, uniforms [N, L] in (0, 1).
  virtual Noised q_sample(const torch::Tensor& x0, const torch::Tensor& t, const torch::Tensor& uniforms) const = 0;
  /// p(x_{t-1} | xt) = sum over x0 of q(x_{t-1} | xt, x0) p(x0 | xt). In: xt [N, L], p(x0) [N, L, K], t [N] in 1..T.
  /// Out: [N, L, K+1], the last entry MASK.
  virtual torch::Tensor posterior(const torch::Tensor& xt, const torch::Tensor& x0_probabilities,
                                  const torch::Tensor& t) const = 0;
};

/// Counter-based uniforms, [count, cells] float64: row r is (seed, purpose, image = first_row + r, step), by cell.
torch::Tensor uniform_rows(Seed seed, Purpose purpose, std::uint64_t first_row, std::uint32_t step, std::int64_t count,
                           std::int64_t cells);

}  // namespace tessera
