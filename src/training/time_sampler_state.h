/// The time sampler's history in a training state, and what it learns of a step whose rows several losses saw.
#pragma once

#include "checkpoint/safetensors.h"
#include "diffusion/time_sampler.h"

namespace tessera {

/// Under "times.".
void save_times(const TimeSampler& times, TensorMap& into);
/// Throws Error naming a tensor that is missing or has another shape.
void load_times(TimeSampler& times, const TensorMap& from);

/// PriorObjective::Loss::seen of a time sampler: [N, 3] times, losses and bounds.
torch::Tensor seen_times(const torch::Tensor& t, const TrainingLoss& losses);
void update_times(TimeSampler& times, const torch::Tensor& seen);

}  // namespace tessera
