/// The loop around every training: checkpoints, resumption, signals, progress, validation, previews.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "checkpoint/safetensors.h"
#include "runtime/fields.h"
#include "training/recorder.h"

namespace tessera {

struct LoopOptions {
  std::int64_t steps = 0;             // updates in all; 0 chooses from the data's size
  std::int64_t log_every = 50;        // steps between records of the losses
  std::int64_t validate_every = 500;  // steps between validations and previews; 0 only at the end
  std::int64_t save_every = 500;      // steps between saved states; 0 only at the end
  bool resume = false;                // go on from the saved state
};

/// What the loop trains. A step is a pure function of (state, step number), so that a resumed run repeats an unbroken
/// one.
class TrainingTask {
 public:
  virtual ~TrainingTask() = default;
  virtual std::string name() const = 0;  // "codec", "prior": the sub-folder of training/
  virtual std::string unit() const = 0;  // what the rate counts
  virtual double units_per_step() const = 0;
  /// Every option that decides the result; a resumed run must have the same.
  virtual nlohmann::json recipe() const = 0;
  /// One update. Throws Error before touching the weights where the loss is not finite.
  virtual Metrics step(std::int64_t step) = 0;
  /// Figures and pictures at a step.
  virtual void validate(std::int64_t step, Recorder& recorder) = 0;
  virtual void save_state(TensorMap& into) const = 0;
  virtual void load_state(const TensorMap& from) = 0;
  /// Writes the inference bundle.
  virtual void write_bundle(std::int64_t step) = 0;
};

/// Runs `task` to options.steps, writing under `folder` (state.safetensors, metrics.jsonl, previews/, event files).
/// Returns true when done, false when a signal asked to stop: the state is saved then.
bool run_training(TrainingTask& task, const LoopOptions& options, const std::filesystem::path& folder);

}  // namespace tessera
