#include "training/training_loop.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string_view>

#include "runtime/atomic_file.h"
#include "runtime/bounded_json.h"
#include "runtime/error.h"
#include "runtime/log.h"
#include "runtime/progress.h"
#include "runtime/seconds_since.h"
#include "runtime/stop_signal.h"
#include "training/shared_state.h"

namespace tessera {
namespace {

std::string losses_text(const Metrics& metrics) {
  std::string text;
  for (const auto& [name, value] : metrics) text += fmt::format("{} {:.4g}  ", name, value);
  return text;
}

constexpr double kFirstValidation = 40, kLeastInterval = 60, kMostInterval = 600;  // seconds
constexpr double kSaveInterval = 120;
constexpr double kCostShare = 12;           // by time, at most a twelfth of a run is spent on validations
constexpr double kSlack = 0.1;              // part by which a plan of steps may miss the time
constexpr double kPlannedAnew = 0.9;        // of a run, after which its number of steps stands
constexpr std::int64_t kFirstRecords = 10;  // steps whose losses are all recorded

/// What was found best at a validation.
struct Best {
  std::optional<double> score;
  std::int64_t phase = 0;
  std::int64_t step = 0;
  std::int64_t without_gain = 0;  // validations since
};

void save(const TrainingTask& task, std::int64_t step, const Best& best, const std::filesystem::path& file) {
  TensorMap tensors;
  task.save_state(tensors);
  Metadata metadata{{"step", std::to_string(step)}, {"recipe", task.recipe().dump()}};
  if (best.score) {
    const nlohmann::json text = {
        {"score", *best.score}, {"phase", best.phase}, {"step", best.step}, {"without_gain", best.without_gain}};
    metadata["best"] = text.dump();
  }
  save_safetensors(file, tensors, metadata);
}

Best best_of(const Metadata& metadata) {
  Best best;
  const auto found = metadata.find("best");
  if (found == metadata.end()) return best;
  const auto text = json_or_discarded(found->second);
  if (!text.is_object()) return best;
  if (text.contains("score") && text["score"].is_number()) best.score = text["score"].get<double>();
  best.phase = text.value("phase", std::int64_t{0});
  best.step = text.value("step", std::int64_t{0});
  best.without_gain = text.value("without_gain", std::int64_t{0});
  return best;
}

/// Where two runs differ in what they are trained on, in people's words.
std::string other_data(const nlohmann::json& before, const nlohmann::json& now) {
  const auto count = [](const nlohmann::json& recipe) {
    const auto found = recipe.find("data_count");
    return found != recipe.end() && found->is_number_integer() ? fmt::format("{} pictures", found->get<std::int64_t>())
                                                               : std::string("other pictures");
  };
  const auto then = count(before), found = count(now);
  const auto what =
      then == found
          ? fmt::format("{}, the data now hold as many, but not the same pixels (another picture, or read otherwise)",
                        then)
          : fmt::format("{}, the data now hold {}", then, found);
  return fmt::format(
      "was trained on {}: --resume needs the same; to go on with these, start a new run with --start-from", what);
}

/// Returns the step to go on from. planned: gets the updates in all that the state was saved with, where it says so.
std::int64_t restore(TrainingTask& task, const std::filesystem::path& file, Best& best,
                     std::int64_t* planned = nullptr) {
  Metadata metadata;
  const auto tensors = load_safetensors(file, &metadata);
  require(metadata.count("step") && metadata.count("recipe"), "{}: not a training state (no step or recipe in it)",
          file.string());
  const auto saved = json_or_discarded(metadata.at("recipe"));
  const auto asked = task.recipe();
  for (const auto& [name, value] : asked.items()) {
    if (name == "steps") continue;       // a run may be made longer or shorter; the learning rate follows the new total
    if (name == "data_count") continue;  // data_key says the same, and more
    if (name != "data_key" && saved.is_object() && !saved.contains(name)) continue;  // no choice in an earlier version
    const auto before = saved.is_object() && saved.contains(name) ? saved.at(name) : nlohmann::json();
    require(name != "data_key" || before == value, "{}: {}", file.string(), other_data(saved, asked));
    require(before == value, "{}: was trained with {} = {}, now asked to resume with {}", file.string(), name,
            before.dump(), value.dump());
  }
  task.load_state(tensors);
  best = best_of(metadata);
  if (planned != nullptr && saved.is_object() && saved.contains("steps") && saved["steps"].is_number_integer())
    *planned = saved["steps"].get<std::int64_t>();
  std::int64_t step = 0;
  const auto& text = metadata.at("step");
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), step);
  require(parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() && step >= 0,
          "{}: step '{}', expected a whole number", file.string(), text);
  return step;
}

/// One run: what run_training keeps while it goes on.
class Run {
 public:
  Run(TrainingTask& task, const LoopOptions& options, const std::filesystem::path& folder);
  TrainingEnd go();

 private:
  bool is_due(std::int64_t every, double next) const;
  bool ends_early();
  void one_step();
  void validate(bool last);
  void save_now();
  void go_back();
  void plan_anew();
  void begin();
  Best shared(const Best& best) const;
  TrainingEnd run();
  TrainingEnd ended(bool done) const;

  TrainingTask& task_;
  const LoopOptions& options_;
  std::shared_ptr<const Ranks> ranks_;
  std::filesystem::path folder_, state_, good_;  // good: the state at the best validation, where one may go back to it
  std::int64_t step_ = 0, saved_ = 0, total_ = 0;
  double validation_cost_ = 0;  // seconds of the last one
  Best best_;
  std::optional<Recorder> recorder_;
  std::optional<Progress> progress_;
  std::chrono::steady_clock::time_point begin_;
  double next_validation_ = kFirstValidation, next_save_ = kSaveInterval;  // seconds since the beginning
  bool stopped_ = false;                                                   // by LoopOptions::after_step
  std::string early_;                                                      // why the run ends before its last step
};

Run::Run(TrainingTask& task, const LoopOptions& options, const std::filesystem::path& folder)
    : task_(task),
      options_(options),
      ranks_(options.ranks ? options.ranks : std::make_shared<const Ranks>()),
      folder_(folder),
      state_(folder / "state.safetensors"),
      good_(folder / "best.safetensors"),
      total_(options.steps),
      begin_(std::chrono::steady_clock::now()) {
  check_same_task(*ranks_, task_);
  if (ranks_->is_first()) begin();
  step_ = saved_ = number_of_first(*ranks_, step_);
  total_ = number_of_first(*ranks_, total_);
  best_ = shared(best_);
  if (!ranks_->is_first() && total_ != options_.steps) (void)task_.plan_steps(step_, total_);
  share_state(*ranks_, task_);
}

/// What rank 0 does before the first step.
void Run::begin() {
  const auto& options = options_;
  if (options.resume) {
    require(std::filesystem::exists(state_), "{}: no saved state to resume from", state_.string());
    std::int64_t planned = total_;
    step_ = restore(task_, state_, best_, &planned);
    if (options.planned_by_time && planned > step_ && task_.plan_steps(step_, planned)) total_ = planned;
    log().info("{}: resumed at step {} from {}", task_.name(), step_, state_.string());
  } else {
    require(!std::filesystem::exists(state_), "{}: a run is there already: give --resume to go on, or another folder",
            state_.string());
  }
  sweep_partial_files(folder_, true);
  recorder_.emplace(folder_, step_);
}

bool Run::is_due(std::int64_t every, double next) const {
  if (step_ >= total_) return false;
  if (every >= 0) return every > 0 && step_ % every == 0;
  // Not when the last one is about to come.
  const double left = progress_->seconds_left();
  return seconds_since(begin_) >= next && (left < 0 || left > validation_cost_);
}

void Run::one_step() {
  Metrics metrics;
  try {
    metrics = task_.step(step_);
  } catch (const LostRank&) {
    throw;  // said once, for all that the loop waits for
  } catch (const Error& error) {
    fail("{}; the last good state (step {}) is in {}", error.what(), saved_,
         saved_ > 0 ? state_.string() : "no file yet");
  }
  ++step_;
  progress_->update(step_, losses_text(metrics));
  if (options_.after_step) stopped_ = !options_.after_step(step_, total_, metrics);
  if (step_ <= kFirstRecords || step_ % options_.log_every == 0 || step_ == total_) {
    metrics[task_.unit() + "_per_second"] = progress_->rate();
    if (recorder_) recorder_->scalars(step_, metrics);
  }
}

void Run::validate(bool last) {
  const auto before = std::chrono::steady_clock::now();
  task_.gather_state();
  task_.measure_together(step_);
  const auto now = judgement_of_first(*ranks_, recorder_ ? task_.validate(step_, *recorder_) : std::nullopt);
  const bool lower = !now || !best_.score || now->score < *best_.score + now->margin;
  const bool spoiled = !lower && task_.wants_to_go_back(*best_.score, now->score);
  const bool gained = lower || (now->phase > best_.phase && !spoiled);
  const bool worse = number_of_first(*ranks_, !last && spoiled && std::filesystem::exists(good_) ? 1 : 0) != 0;
  if (worse) {
    go_back();
  } else if (gained) {
    // Within the margin the later state is kept and the lowest score remembered, so that many small losses do not add
    // up.
    const bool compares = now && best_.score && now->phase == best_.phase;
    if (now) best_ = {compares ? std::min(now->score, *best_.score) : now->score, now->phase, step_, 0};
    if (step_ > 0 && ranks_->is_first()) task_.write_bundle(step_);
    if (now && task_.may_go_back() && ranks_->is_first()) save(task_, step_, best_, good_);
  } else {
    ++best_.without_gain;
  }
  const double elapsed = seconds_since(begin_);
  validation_cost_ = seconds_since(before);
  next_validation_ = elapsed + seconds_to_next(elapsed, validation_cost_);
}

void Run::plan_anew() {
  if (options_.planned_seconds <= 0 || static_cast<double>(step_) > kPlannedAnew * static_cast<double>(total_)) return;
  const double left = options_.planned_seconds - seconds_since(begin_) - validation_cost_;
  const auto total = number_of_first(*ranks_, steps_that_fit(step_, total_, progress_->seconds_a_step(), left));
  if (total == total_ || !task_.plan_steps(step_, total)) return;
  log().info("{}: {} steps fit the time, not {}: the machine is {} than when it was measured", task_.name(), total,
             total_, total < total_ ? "slower" : "faster");
  total_ = total;
  progress_->new_total(total);
}

void Run::go_back() {
  const auto bad = step_;
  auto best = best_;
  if (ranks_->is_first()) step_ = restore(task_, good_, best);
  step_ = number_of_first(*ranks_, step_);
  best_ = shared(best);
  share_state(*ranks_, task_);
  task_.went_back();
  if (recorder_) recorder_.emplace(folder_, step_);
  progress_->went_back(step_);
  log().warn("{}: step {} is worse than step {}: back to that state", task_.name(), bad, step_);
  save_now();
}

void Run::save_now() {
  const auto before = std::chrono::steady_clock::now();
  task_.gather_state();
  if (ranks_->is_first()) save(task_, step_, best_, state_);
  saved_ = step_;
  next_save_ = seconds_since(begin_) + std::max(kSaveInterval, kCostShare * seconds_since(before));
}

bool Run::ends_early() {
  if (options_.patience > 0 && best_.without_gain >= options_.patience) {
    early_ = fmt::format("{} validations brought no gain over step {}", best_.without_gain, best_.step);
  } else if (options_.deadline_seconds > 0 && seconds_since(begin_) >= options_.deadline_seconds) {
    early_ = "the time given is over";
  }
  return !early_.empty();
}

TrainingEnd Run::go() {
  try {
    return run();
  } catch (const LostRank& error) {
    throw LostRank(fmt::format("{}; the last saved state (step {}) is in {}{}", error.what(), saved_,
                               saved_ > 0 ? state_.string() : "no file yet",
                               saved_ > 0 ? ": --resume goes on with it, on as many ranks as there are" : ""));
  }
}

TrainingEnd Run::ended(bool done) const {
  return {done, step_, total_, best_.score ? best_.step : step_, best_.score};
}

/// Rank 0's, to all.
Best Run::shared(const Best& best) const {
  if (ranks_->count() == 1) return best;
  const std::optional<Judgement> own =
      best.score ? std::optional<Judgement>({*best.score, best.phase, 0}) : std::nullopt;
  const auto judged = judgement_of_first(*ranks_, own);
  Best result;
  if (judged) result.score = judged->score;
  result.phase = judged ? judged->phase : 0;
  result.step = number_of_first(*ranks_, best.step);
  result.without_gain = number_of_first(*ranks_, best.without_gain);
  return result;
}

TrainingEnd Run::run() {
  std::optional<StopSignal> stop;
  if (options_.takes_signals) stop.emplace();
  progress_.emplace(task_.name(), step_, total_, task_.unit(), task_.units_per_step());
  // By the clock rank 0 decides; a signal to any rank stops all.
  const auto goes_on = [&] {
    const bool ends = stopped_ || (stop && stop->requested()) || (ranks_->is_first() && ends_early());
    return !any_says(*ranks_, ends);
  };
  const auto due = [&](std::int64_t every, double next) {
    const bool mine = is_due(every, next);
    return every >= 0 ? mine : number_of_first(*ranks_, mine ? 1 : 0) != 0;
  };
  while (step_ < total_ && goes_on()) {
    one_step();
    // In this order: a run that is killed in between validates again when it is resumed.
    const bool validates = due(options_.validate_every, next_validation_);
    if (validates) validate(false);
    const bool saves = due(options_.save_every, next_save_);
    if (saves) save_now();
    if (validates || saves) {
      progress_->other_work_done();
      plan_anew();
    }
  }
  progress_.reset();
  const bool done = step_ >= total_ || number_of_first(*ranks_, early_.empty() ? 0 : 1) != 0;
  if (!early_.empty()) log().info("{}: ends at step {} of {}: {}", task_.name(), step_, total_, early_);
  if (done) log().info("{}: last validation and saving", task_.name());
  task_.gather_state();
  if (ranks_->is_first()) save(task_, step_, best_, state_);
  if (!done) {
    if (step_ > 0 && !best_.score && ranks_->is_first()) task_.write_bundle(step_);
    log().warn("{}: stopped at step {} of {}; state and bundle are saved: the same command with --resume goes on",
               task_.name(), step_, total_);
    return ended(false);
  }
  validate(true);
  if (best_.score && best_.step != step_) {
    log().info("{}: the bundle holds step {}, judged the best ({:.4g})", task_.name(), best_.step, *best_.score);
  }
  std::error_code code;
  if (ranks_->is_first()) std::filesystem::remove(good_, code);
  if (ranks_->count() > 1 && ranks_->is_first())
    log().info(
        "{}: {} ranks; {:.1f} s of {:.1f} s went by in exchanges, {:.1f} s of them beside the computing, {:.1f} MB "
        "came to "
        "this rank",
        task_.name(), ranks_->count(), ranks_->seconds_exchanging(), seconds_since(begin_), ranks_->seconds_hidden(),
        ranks_->bytes_received() / 1e6);
  return ended(true);
}

}  // namespace

std::int64_t steps_that_fit(std::int64_t step, std::int64_t total, double seconds_a_step, double seconds) {
  if (seconds_a_step <= 0) return total;
  const double for_steps = std::max(seconds, 0.0) * (1 - 1 / kCostShare);
  const double left = seconds_a_step * static_cast<double>(total - step);
  if (std::abs(for_steps - left) < kSlack * left) return total;
  return step + std::max<std::int64_t>(1, static_cast<std::int64_t>(for_steps / seconds_a_step));
}

double seconds_to_next(double elapsed, double cost) {
  return std::max(std::clamp(elapsed, kLeastInterval, kMostInterval), kCostShare * cost);
}

TrainingEnd run_training(TrainingTask& task, const LoopOptions& options, const std::filesystem::path& folder) {
  return Run(task, options, folder).go();
}

}  // namespace tessera
