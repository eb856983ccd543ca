/// aMUSEd's scheduler: every step draws all MASK cells and masks the least confident again. Patil et al., "aMUSEd",
/// arXiv:2401.01808, section 3; in its details the hub's AmusedScheduler: temperatures that end at their last value,
/// counts in single precision, at least one cell masked again at every step but the last.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "sampling/sampler.h"
#include "sampling/sampling_options.h"

namespace tessera {

enum class AmusedSchedule { cosine, linear };

/// Cells that are masked after step 1 .. steps (the last: 0) of `cells`, of which `unknown` are MASK before the step:
/// max(1, min(unknown - 1, floor(cells * share * ratio))), ratio = cos(pi/2 done) or 1 - done, computed in single
/// precision as published: 12 steps of 256 cells leave 127 after the eighth, not 128.
std::int64_t amused_masked_after(std::int64_t step, std::int64_t steps, std::int64_t cells, std::int64_t unknown,
                                 double share, AmusedSchedule schedule);

/// The temperature of step 1 .. steps, from `first` to `last` at even distances; of a single step `first`.
double amused_temperature(std::int64_t step, std::int64_t steps, double first, double last);

/// Image to image: the steps that are passed over, steps - floor(steps * strength), and the chance that a cell is
/// masked at the start, cos(pi/2 passed / steps). strength 1 wraps around to the last step with nothing masked, as
/// published.
struct AmusedStart {
  std::int64_t passed = 0;
  double masked = 1;
};
AmusedStart amused_start(std::int64_t steps, double strength);

/// Where a run takes its random numbers from.
class AmusedDraws {
 public:
  virtual ~AmusedDraws() = default;
  /// A code for each of the flat cells n * L + l. In: logits [M, K] on the CPU.
  virtual std::vector<TokenDraw> tokens(std::int64_t step, const std::vector<std::int64_t>& cells,
                                        const torch::Tensor& logits) = 0;
  /// Standard Gumbel noise of cell l of image n.
  virtual double gumbel(std::int64_t step, std::int64_t n, std::int64_t l) = 0;
};

/// What a run decides by image.
struct AmusedPlan {
  std::int64_t passed = 0;  // steps passed over before the first
  double share = 1;         // of the cells, which the counts are of: 1, or the masked share of an inpainting
  AmusedSchedule schedule = AmusedSchedule::cosine;
  // As published, every step but the last masks a cell of an image without MASK, too; else such an image stays.
  bool always_masks = false;
};

/// Fills the state's MASK cells. plans: one an image. Steps are counted from 1 to state.options.steps.
void run_amused(FillState& state, AmusedDraws& draws, const std::vector<AmusedPlan>& plans, double first_temperature,
                double last_temperature);

/// How the hub's scheduler_config.json asks to be sampled: the defaults of the hub's pipeline where it is an
/// AmusedScheduler, else nothing.
SamplingOptions suggestion_of_hub(const nlohmann::json& scheduler);

}  // namespace tessera
