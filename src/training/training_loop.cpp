#include "training/training_loop.h"

#include <nlohmann/json.hpp>

#include "runtime/error.h"
#include "runtime/log.h"
#include "runtime/progress.h"
#include "runtime/stop_signal.h"

namespace tessera {
namespace {

std::string losses_text(const Metrics& metrics) {
  std::string text;
  for (const auto& [name, value] : metrics) text += fmt::format("{} {:.4g}  ", name, value);
  return text;
}

void save(const TrainingTask& task, std::int64_t step, const std::filesystem::path& file) {
  TensorMap tensors;
  task.save_state(tensors);
  save_safetensors(file, tensors, {{"step", std::to_string(step)}, {"recipe", task.recipe().dump()}});
}

/// Returns the step to go on from.
std::int64_t restore(TrainingTask& task, const std::filesystem::path& file) {
  Metadata metadata;
  const auto tensors = load_safetensors(file, &metadata);
  require(metadata.count("step") && metadata.count("recipe"), "{}: not a training state (no step or recipe in it)", file.string());
  const auto saved = nlohmann::json::parse(metadata.at("recipe"), nullptr, false);
  const auto asked = task.recipe();
  for (const auto& [name, value] : asked.items()) {
    const auto before = saved.is_object() && saved.contains(name) ? saved.at(name) : nlohmann::json();
    require(before == value, "{}: was trained with {} = {}, now asked to resume with {}", file.string(), name, before.dump(), value.dump());
  }
  task.load_state(tensors);
  return std::stoll(metadata.at("step"));
}

}  // namespace

bool run_training(TrainingTask& task, const LoopOptions& options, const std::filesystem::path& folder) {
  Recorder recorder(folder);
  const auto state = folder / "state.safetensors";
  std::int64_t step = 0;
  if (options.resume) {
    require(std::filesystem::exists(state), "{}: no saved state to resume from", state.string());
    step = restore(task, state);
    log().info("{}: resumed at step {} from {}", task.name(), step, state.string());
  } else {
    require(!std::filesystem::exists(state), "{}: a run is there already: give --resume to go on, or another folder", state.string());
  }
  const StopSignal stop;
  std::int64_t saved = step;
  const auto is_due = [&](std::int64_t every) { return every > 0 && step % every == 0 && step < options.steps; };
  {
    Progress progress(task.name(), step, options.steps, task.unit(), task.units_per_step());
    while (step < options.steps && !stop.requested()) {
      Metrics metrics;
      try {
        metrics = task.step(step);
      } catch (const Error& error) {
        fail("{}; the last good state (step {}) is in {}", error.what(), saved, saved > 0 ? state.string() : "no file yet");
      }
      ++step;
      progress.update(step, losses_text(metrics));
      if (step % options.log_every == 0 || step == options.steps) {
        metrics[task.unit() + "_per_second"] = progress.rate();
        recorder.scalars(step, metrics);
      }
      if (is_due(options.save_every)) {
        save(task, step, state);
        saved = step;
      }
      if (is_due(options.validate_every)) task.validate(step, recorder);
    }
  }
  save(task, step, state);
  if (step < options.steps) {
    log().warn("{}: stopped at step {} of {}; the state is saved: the same command with --resume goes on", task.name(), step, options.steps);
    return false;
  }
  task.validate(step, recorder);
  task.write_bundle(step);
  return true;
}

}  // namespace tessera
