/// What the samplers share. To add one: a file with its function and its entry, and a line in registry.cpp.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "denoiser/kept_context.h"
#include "sampling/fill.h"

namespace tessera {

/// The state of one fill. Tensors are on the CPU.
class FillState {
 public:
  FillState(const TokenGrid& grid, Denoiser& denoiser, const FillOptions& options, const StepCallback& on_step,
            const FillCheckpoint& from = {});

  const FillOptions& options;
  FillReport report;
  torch::Tensor start;      // [N, L] int64: the grid as the fill began; step counts follow from it
  torch::Tensor tokens;     // [N, L] int64: as it is now
  std::int64_t mask_token;  // K

  /// Of the denoiser, under the conditions of the images.
  Evaluator& evaluator() { return *evaluator_; }
  std::int64_t count() const { return tokens.size(0); }
  std::int64_t cells() const { return tokens.size(1); }
  Extent extent() const { return extent_; }
  /// The draws of image n of the grid at a step.
  RandomStream stream(std::int64_t n, Purpose purpose, std::uint32_t step) const;
  /// The same for all images and cells: uniforms in (0, 1), [N, L] float64.
  torch::Tensor uniforms(Purpose purpose, std::uint32_t step) const;
  /// Images in one network call, the default resolved.
  std::int64_t images_per_call() const;
  /// A network call: the images first..last-1 of the grid, at places 0..last-first-1 + offset of images_per_call().
  struct Group {
    std::int64_t first, last, offset;
  };
  std::vector<Group> groups() const;
  /// true: no image of the group is wanted any more.
  bool abandoned(const Group& group) const;

  struct Draws {
    std::vector<std::int64_t> cells;  // flat n * L + l, ascending
    std::vector<TokenDraw> draws;     // one for each
  };
  /// true: an earlier run has walked this step (counted from 1); the sampler goes on to the next.
  bool walked(std::int64_t step) const { return step <= walked_; }
  /// Draws a token for every cell of `wanted` [N, L] bool from p(x0 | seen), seen [N, L]. Images without a wanted cell
  /// cost no evaluation. step: the key of the draws.
  Draws draw(const torch::Tensor& seen, const torch::Tensor& wanted, std::uint32_t step);
  /// The same for the flat cells n * L + l, ascending; costs no look at the others.
  Draws draw(const torch::Tensor& seen, const std::vector<std::int64_t>& wanted, std::uint32_t step);
  /// The same for given logits [M, K] of the flat cells.
  void draw_rows(const torch::Tensor& logits, const std::vector<std::int64_t>& at, std::uint32_t step,
                 Draws& out) const {
    draw_rows(logits, at, step, options.draw, out);
  }
  void draw_rows(const torch::Tensor& logits, const std::vector<std::int64_t>& at, std::uint32_t step,
                 const DrawOptions& draw, Draws& out) const;
  /// Writes the draws into `tokens`.
  void write(const Draws& draws);
  /// Logits [M, K] on the CPU of the flat cells, ascending, given seen [N, L] at time t of the process; images without
  /// a cell cost no evaluation. step: which of the sampler's steps this is.
  torch::Tensor logits(const torch::Tensor& seen, const std::vector<std::int64_t>& wanted, std::uint32_t step,
                       std::int64_t t);
  /// Reports a step; false: stop (report.cancelled is set).
  bool advance(std::int64_t step, std::int64_t steps);

  /// The condition of each place of a network call; places of no image are under a neighbour's.
  std::vector<std::int64_t> conditions_of(const Group& group, std::int64_t places) const;
  /// The share of guidance of each row; empty: all of it. In: seen [rows, L]; t: the process's time; 0: implied.
  std::vector<double> guidance_of(const torch::Tensor& seen, std::int64_t t) const;

 private:
  using GroupBody = std::function<void(const std::vector<std::int64_t>& at, const torch::Tensor& logits)>;
  /// The network's logits of the wanted cells, one call's images after another. t: the process's time; 0: implied.
  void for_groups(const torch::Tensor& seen, const std::vector<std::int64_t>& wanted, std::uint32_t step,
                  std::int64_t t, const GroupBody& body);

  /// The evaluator's logits; with reused context a cheaper evaluation where this step is not one of the full ones.
  torch::Tensor look_at(const Look& look);

  Denoiser& denoiser_;
  std::unique_ptr<Evaluator> evaluator_;
  std::int64_t reused_context_steps_;       // between two steps of full evaluations
  ContextEvaluator* in_context_ = nullptr;  // the evaluator, where there are some
  Extent extent_;
  std::int64_t walked_, now_;  // steps: an earlier run's, all so far
  const StepCallback& on_step_;
};

using SamplerFunction = void (*)(FillState& state);

/// Of samplers that ask for some of the cells at a step: between full evaluations so many steps compute only the cells
/// asked for and those changed since, the others' keys and values as they were (denoiser/kept_context.h). Cheaper,
/// approximate, one image in a call; progress is reported before each full evaluation, so that a fill which is left
/// there goes on as an unbroken one.
OptionField reused_context_field();

/// The ancestral sampler of options.process.
void sample_reverse(FillState& state);

/// The times of `steps` strides from T to 0: T = first > .. > 0, as evenly as integers allow; at most T strides.
std::vector<std::int64_t> stride_times(std::int64_t total_steps, std::int64_t steps);
/// The earliest time at which at least this share of the cells is MASK (0 for none); without MASK the share of T.
std::int64_t implied_time(const Process& process, std::int64_t masked, std::int64_t cells);

/// The time steps of the mlm sampler, descending: floor(linspace(1, T, S)).
std::vector<std::int64_t> mlm_times(std::int64_t total_steps, std::int64_t steps);
/// The step at which the ancestral sampler of `steps` steps starts a row of `cells` cells of which `masked` are MASK:
/// round(steps * masked / cells), at least 1; 0 where nothing is masked.
std::int64_t starting_step(std::int64_t masked, std::int64_t cells, std::int64_t steps);

}  // namespace tessera
