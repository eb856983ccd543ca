/// The loop around every training: checkpoints, resumption, signals, progress, validation, previews.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "checkpoint/safetensors.h"
#include "runtime/fields.h"
#include "training/recorder.h"

namespace tessera {

class Ranks;

struct LoopOptions {
  std::int64_t steps = 0;            // updates in all; 0 chooses from the data's size
  std::int64_t log_every = 50;       // steps between records of the losses; the first ten are recorded too
  std::int64_t validate_every = -1;  // steps between validations and previews; 0 only at the end; -1 by time: the first
                                     // after 40 s, then as long again as has passed, 1 to 10 minutes
  std::int64_t save_every = -1;      // steps between saved states; 0 only at the end; -1 by time: every two minutes
  std::int64_t patience = 0;         // validations without a gain after which the run ends; 0 never
  double deadline_seconds = 0;       // of this run, after which it ends as if all steps were done; 0 none
  double planned_seconds = 0;        // of this run: the task is given as many steps as fit, anew whenever the machine
                                     // turns out faster or slower than `steps` supposes; 0: they stand
  bool planned_by_time = false;      // a resumed run goes on with the number of steps that it had come to so
  bool resume = false;               // go on from the saved state
  // Called after each update; false stops the run as a signal does. None: not called.
  std::function<bool(std::int64_t step, std::int64_t steps, const Metrics& metrics)> after_step = {};
  bool takes_signals = true;  // false: a library leaves its program's signals alone
  // That share the training; none: this process alone. Rank 0 alone reads and writes files and validates.
  std::shared_ptr<const Ranks> ranks = nullptr;
};

/// What a run is judged by at a validation.
struct Judgement {
  double score = 0;        // lower is better
  std::int64_t phase = 0;  // scores of different phases (another loss) do not compare: a later phase begins anew
  double margin = 0;       // how far two scores of one state may differ: a later one within it is as good as the best
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
  /// Figures and pictures at a step. Returns what the run is judged by on held-out data; none where nothing was held
  /// out or the latest weights are always the ones to keep.
  virtual std::optional<Judgement> validate(std::int64_t step, Recorder& recorder) = 0;
  /// The run is to have `total` updates instead; schedules follow. false: not now.
  virtual bool plan_steps(std::int64_t /*step*/, std::int64_t /*total*/) { return false; }
  /// Whether the loop keeps the state of the best validation, so that the run can be taken back to it.
  virtual bool may_go_back() const { return false; }
  /// Asked after a validation that came out worse than the best so far: is the run spoiled, and to go back to the best
  /// state?
  virtual bool wants_to_go_back(double /*best*/, double /*now*/) const { return false; }
  /// The best state is restored: the task changes what it takes to be the cause. What it changes is part of its state.
  virtual void went_back() {}
  /// Called by all ranks before rank 0 validates, saves its state or writes its bundle: what lies on other ranks comes
  /// to it.
  virtual void gather_state() {}
  /// Called by all ranks before rank 0 validates: what they measure together of the weights after `step`.
  virtual void measure_together(std::int64_t /*step*/) {}
  virtual void save_state(TensorMap& into) const = 0;
  virtual void load_state(const TensorMap& from) = 0;
  /// Writes the inference bundle.
  virtual void write_bundle(std::int64_t step) = 0;
};

/// How a run ended.
struct TrainingEnd {
  bool done = false;           // false: a signal asked to stop; the state is saved then
  std::int64_t step = 0;       // updates that were made
  std::int64_t planned = 0;    // updates that the schedules were made for
  std::int64_t best_step = 0;  // of the weights in the bundle
  std::optional<double> best;  // what those were judged by
  explicit operator bool() const { return done; }
};

/// Runs `task` to options.steps, writing under `folder` (state.safetensors, metrics.jsonl, previews/, event files) and,
/// at every validation that is the best so far, the bundle: what lies there can be used while the training goes on.
/// Where the task judges itself, the bundle ends with its best weights, else with its latest.
TrainingEnd run_training(TrainingTask& task, const LoopOptions& options, const std::filesystem::path& folder);

/// Updates in all so that a run ends in time, its validations counted with the share of it that they may take. In: it
/// is at `step` of `total`; seconds that a step takes (below zero: not known), seconds to the end. Out: `total` where
/// the time that it takes differs little.
std::int64_t steps_that_fit(std::int64_t step, std::int64_t total, double seconds_a_step, double seconds);

/// Seconds from one validation (or save) by time to the next. elapsed: since the run began; cost: what the last one
/// took, of which at most a twelfth of the time may go.
double seconds_to_next(double elapsed, double cost);

}  // namespace tessera
