/// Training of a bundle's parts.
#pragma once

#include <tessera/callback.hpp>
#include <tessera/options.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace tessera {

/// How far a training is. metrics: a JSON object with what was measured; it lives as long as the callback runs.
struct TrainingStep {
  std::int64_t step = 0, steps = 0;
  std::string_view metrics;
};

/// After each update. false saves the state and stops: train() throws Stopped, and "resume" goes on from there. What it
/// throws does the same and comes out of train().
using OnTrainingStep = std::function<bool(const TrainingStep&)>;

namespace detail {

inline TrainingStep training_step_of(const tessera_training_step& step) {
  return {step.step, step.steps, step.metrics ? step.metrics : "{}"};
}
using TrainingCall = Callback<TrainingStep, tessera_training_step, &training_step_of>;

}  // namespace detail

/// Trains part "codec" or "prior" of the bundle `model` (a folder) on `data` (a folder, zip, tar shards or pack).
/// options: the fields of the part's recipe, "recipe" (a TOML file that they are laid over), "device", "resume",
/// "where", "split_field", "validate_every", "save_every". The bundle ends with the best weights and can be used while
/// this runs. Throws Error.
inline void train(const std::string& part, const std::string& data, const std::string& model,
                  const Options& options = {}, const OnTrainingStep& on_step = {}) {
  detail::TrainingCall step_call(on_step);
  step_call.check(tessera_train(detail::c_text(part, "part"), detail::c_text(data, "data"),
                                detail::c_text(model, "model"), options.json().c_str(), step_call.function(),
                                &step_call));
}

}  // namespace tessera
