/// What the samplers share. To add one: write a function of this type and enter it in the table of fill.cpp.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "sampling/fill.h"

namespace tessera {

/// The state of one fill. Tensors are on the CPU.
class FillState {
 public:
  FillState(const TokenGrid& grid, Denoiser& denoiser, const FillOptions& options, const StepCallback& on_step);

  Denoiser& denoiser;
  const FillOptions& options;
  FillReport report;
  torch::Tensor tokens;     // [N, L] int64
  std::int64_t mask_token;  // K

  std::int64_t count() const { return tokens.size(0); }
  std::int64_t cells() const { return tokens.size(1); }
  /// Images in one network call, the default resolved.
  std::int64_t images_per_call() const;
  /// A network call: the images first..last-1 of the grid, at places 0..last-first-1 + offset of images_per_call().
  struct Group {
    std::int64_t first, last, offset;
  };
  std::vector<Group> groups() const;

  struct Draws {
    std::vector<std::int64_t> cells;  // flat n * L + l, ascending
    std::vector<TokenDraw> draws;     // one for each
  };
  /// Draws a token for every cell of `wanted` [N, L] bool from p(x0 | seen), seen [N, L]. Images without a wanted cell
  /// cost no evaluation. step: the key of the draws.
  Draws draw(const torch::Tensor& seen, const torch::Tensor& wanted, std::uint32_t step);
  /// The same for given logits [M, K] of the flat cells.
  void draw_rows(const torch::Tensor& logits, const std::vector<std::int64_t>& at, std::uint32_t step,
                 Draws& out) const;
  /// Writes the draws into `tokens`.
  void write(const Draws& draws);
  /// Reports a step; false: stop (report.cancelled is set).
  bool advance(std::int64_t step, std::int64_t steps);

 private:
  Extent extent_;
  const StepCallback& on_step_;
};

using SamplerFunction = void (*)(FillState& state);

void sample_ancestral(FillState& state);
void sample_mlm(FillState& state);
void sample_confidence(FillState& state);
void sample_autoregressive(FillState& state);

/// The time steps of the mlm sampler, descending: floor(linspace(1, T, S)).
std::vector<std::int64_t> mlm_times(std::int64_t total_steps, std::int64_t steps);
/// The step at which the ancestral sampler of `steps` steps starts a row of `cells` cells of which `masked` are MASK:
/// round(steps * masked / cells), at least 1; 0 where nothing is masked.
std::int64_t starting_step(std::int64_t masked, std::int64_t cells, std::int64_t steps);

}  // namespace tessera
