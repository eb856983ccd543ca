/// Training of a bundle's parts.
#pragma once

#include <tessera/options.hpp>

#include <cstdint>
#include <exception>
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

/// Carries a callback, and what it throws, over the C interface.
class TrainingCall {
 public:
  explicit TrainingCall(const OnTrainingStep& function) : function_(function) {}
  TrainingCall(const TrainingCall&) = delete;
  TrainingCall& operator=(const TrainingCall&) = delete;

  tessera_training_function function() const { return function_ ? &call : nullptr; }
  void check(tessera_status status) {
    if (thrown_) std::rethrow_exception(thrown_);
    detail::check(status);
  }

 private:
  static int call(void* user, const tessera_training_step* step) noexcept {
    auto& self = *static_cast<TrainingCall*>(user);
    try {
      return self.function_({step->step, step->steps, step->metrics ? step->metrics : "{}"}) ? 0 : 1;
    } catch (...) {
      self.thrown_ = std::current_exception();
      return 1;
    }
  }

  const OnTrainingStep& function_;
  std::exception_ptr thrown_;
};

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
