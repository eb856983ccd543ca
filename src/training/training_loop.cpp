#include "training/training_loop.h"

#include <signal.h>

#include <cerrno>
#include <charconv>
#include <nlohmann/json.hpp>
#include <string_view>

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
  require(metadata.count("step") && metadata.count("recipe"), "{}: not a training state (no step or recipe in it)",
          file.string());
  const auto saved = nlohmann::json::parse(metadata.at("recipe"), nullptr, false);
  const auto asked = task.recipe();
  for (const auto& [name, value] : asked.items()) {
    if (name == "steps") continue;  // a run may be made longer or shorter; the learning rate follows the new total
    const auto before = saved.is_object() && saved.contains(name) ? saved.at(name) : nlohmann::json();
    require(before == value, "{}: was trained with {} = {}, now asked to resume with {}", file.string(), name,
            before.dump(), value.dump());
  }
  task.load_state(tensors);
  std::int64_t step = 0;
  const auto& text = metadata.at("step");
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), step);
  require(parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() && step >= 0,
          "{}: step '{}', expected a whole number", file.string(), text);
  return step;
}

/// Half-written files of processes that are no more.
void remove_partial_files(const std::filesystem::path& folder) {
  constexpr std::string_view kMark = ".partial-";
  std::error_code code;
  std::vector<std::filesystem::path> found;
  for (std::filesystem::recursive_directory_iterator at(folder, code), end; !code && at != end; at.increment(code)) {
    const auto name = at->path().filename().string();
    const auto mark = name.rfind(kMark);
    pid_t process = 0;
    if (mark == std::string::npos) continue;
    const auto* digits = name.data() + mark + kMark.size();
    if (std::from_chars(digits, name.data() + name.size(), process).ec != std::errc() || process <= 0) continue;
    if (::kill(process, 0) != 0 && errno == ESRCH) found.push_back(at->path());
  }
  for (const auto& file : found) std::filesystem::remove(file, code);
}

}  // namespace

bool run_training(TrainingTask& task, const LoopOptions& options, const std::filesystem::path& folder) {
  const auto state = folder / "state.safetensors";
  std::int64_t step = 0;
  if (options.resume) {
    require(std::filesystem::exists(state), "{}: no saved state to resume from", state.string());
    step = restore(task, state);
    log().info("{}: resumed at step {} from {}", task.name(), step, state.string());
  } else {
    require(!std::filesystem::exists(state), "{}: a run is there already: give --resume to go on, or another folder",
            state.string());
  }
  remove_partial_files(folder);
  Recorder recorder(folder, step);
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
        fail("{}; the last good state (step {}) is in {}", error.what(), saved,
             saved > 0 ? state.string() : "no file yet");
      }
      ++step;
      progress.update(step, losses_text(metrics));
      if (step % options.log_every == 0 || step == options.steps) {
        metrics[task.unit() + "_per_second"] = progress.rate();
        recorder.scalars(step, metrics);
      }
      // In this order: a run that is killed in between validates again when it is resumed.
      if (is_due(options.validate_every)) task.validate(step, recorder);
      if (is_due(options.save_every)) {
        save(task, step, state);
        saved = step;
      }
    }
  }
  save(task, step, state);
  if (step < options.steps) {
    if (step > 0) task.write_bundle(step);
    log().warn("{}: stopped at step {} of {}; state and bundle are saved: the same command with --resume goes on",
               task.name(), step, options.steps);
    return false;
  }
  task.validate(step, recorder);
  task.write_bundle(step);
  return true;
}

}  // namespace tessera
