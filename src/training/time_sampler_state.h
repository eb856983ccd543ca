/// The time sampler's history in a training state.
#pragma once

#include "checkpoint/safetensors.h"
#include "diffusion/time_sampler.h"

namespace tessera {

/// Under "times.".
void save_times(const TimeSampler& times, TensorMap& into);
/// Throws Error naming a tensor that is missing or has another shape.
void load_times(TimeSampler& times, const TensorMap& from);

}  // namespace tessera
