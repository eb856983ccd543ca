/// The reverse step p(x_s | x_t) of processes in whose steps all codes fare alike (process.h, EvenStep), cell by cell:
/// p(x_s = j | x_t) = (keep r_j p_j + spread sum r p) likelihood_j over the codes j, with r_j = 1 / q(x_t | x_0 = j).
#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "diffusion/process.h"

namespace tessera {

/// Cells that a thread takes together.
inline constexpr std::int64_t kCellsAtOnce = 64;

/// What a cell's x_t leaves open. MASK: from MASK only, with probability masked sum r p.
struct EvenReverse {
  double other, same;                        // r of any code, of x_t
  double keep, spread, masked;               // alpha, beta, gamma until s
  double likelihood_other, likelihood_same;  // q(x_t | x_s) from any code, from x_t
  std::int64_t at;                           // x_t; -1: MASK
};

/// In: the steps from 0 to s, 0 to t and s to t; x_t in 0..codes, where codes is MASK.
EvenReverse even_reverse(const EvenStep& before, const EvenStep& until, const EvenStep& last, std::int64_t xt,
                         std::int64_t codes);

/// Whether draw_even_reverse draws this: the process has even steps and the probabilities are on the CPU.
bool has_even_reverse(const Process& process, const torch::Tensor& log_p);

/// draw_states(process.log_reverse(xt, log_p, s, t), uniforms) for cells of one time, without tensors over all states.
/// In: xt [M] int64, log p(x_0) [M, K] float64 (not necessarily normalised, -infinity allowed), s < t, uniforms [M] in
/// (0, 1). Out: [M] int64. A cell for which nothing is possible (its x_t was truncated away) keeps x_t.
torch::Tensor draw_even_reverse(const Process& process, const torch::Tensor& xt, const torch::Tensor& log_p,
                                std::int64_t s, std::int64_t t, const torch::Tensor& uniforms);

}  // namespace tessera
