// What the loop promises whatever it trains: the best weights are kept, a run that is being ruined is taken back, what
// is looked at by time is looked at early, and two runs never write into one folder.
#include "training/training_loop.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "runtime/error.h"
#include "runtime/folder_lock.h"
#include "runtime/progress.h"
#include "support/scratch.h"
#include "training/codebook_care.h"
#include "training/take_matching.h"

namespace tessera {
namespace training_loop_test {

namespace fs = std::filesystem;
using testing::scratch_folder;
using Scores = std::vector<Judgement>;

/// A run whose scores are given in advance; its one weight counts its steps.
class Scripted : public TrainingTask {
 public:
  explicit Scripted(std::vector<Judgement> scores) : scores_(std::move(scores)) {}
  std::string name() const override { return "scripted"; }
  std::string unit() const override { return "images"; }
  double units_per_step() const override { return 1; }
  nlohmann::json recipe() const override { return {{"data_key", key}, {"data_count", count}, {"steps", planned}}; }
  bool plan_steps(std::int64_t, std::int64_t total) override {
    if (fixed) return false;
    planned = total;
    return true;
  }
  Metrics step(std::int64_t) override {
    weight_ += 1;
    std::this_thread::sleep_for(slowness);
    return {{"loss", 1.0}};
  }
  std::optional<Judgement> validate(std::int64_t step, Recorder&) override {
    validated.push_back(step);
    if (scores_.empty()) return std::nullopt;
    const auto at = std::min(validated.size(), scores_.size()) - 1;
    return scores_[at];
  }
  bool may_go_back() const override { return goes_back; }
  bool wants_to_go_back(double best, double now) const override { return goes_back && now > 2 * best; }
  void went_back() override { ++returns; }
  void save_state(TensorMap& into) const override { into["weight"] = torch::tensor({weight_}, torch::kInt64); }
  void load_state(const TensorMap& from) override { weight_ = from.at("weight").item<std::int64_t>(); }
  void write_bundle(std::int64_t step) override {
    written.push_back(step);
    weight_written = weight_;
  }

  std::vector<std::int64_t> validated, written;
  std::int64_t weight_written = 0, returns = 0;
  bool goes_back = false;
  std::string key = "one";
  std::int64_t count = 12, planned = 0;
  bool fixed = false;
  std::chrono::milliseconds slowness{0};

 private:
  std::vector<Judgement> scores_;
  std::int64_t weight_ = 0;
};

LoopOptions every(std::int64_t steps, std::int64_t validate) {
  LoopOptions options;
  options.steps = steps;
  options.validate_every = validate;
  options.save_every = 0;
  return options;
}

TEST(TrainingLoop, ALaterStateThatIsAsGoodWithinItsMarginIsKept) {
  // 3.0 then 3.4, 3.8: each step within half of the one before, but the last is not as good as the best.
  Scripted task(Scores{{3, 0, 0.5}, {3.4, 0, 0.5}, {3.8, 0, 0.5}, {3.2, 0, 0.5}});
  const auto end = run_training(task, every(8, 2), scratch_folder("loop-margin"));
  EXPECT_EQ(task.written, (std::vector<std::int64_t>{2, 4, 8}));
  EXPECT_EQ(end.best_step, 8);
  EXPECT_DOUBLE_EQ(*end.best, 3);
}

TEST(TrainingLoop, StepsFitTheTimeWhateverWasMeasured) {
  // A twelfth of the time may go to validations.
  EXPECT_EQ(steps_that_fit(100, 1000, 0.11, 108), 1000);
  EXPECT_EQ(steps_that_fit(100, 1000, 0.11, 114), 1000) << "too little to change a plan for";
  EXPECT_EQ(steps_that_fit(100, 1000, 0.055, 108), 1900) << "twice as fast";
  EXPECT_EQ(steps_that_fit(100, 1000, 0.33, 108), 400) << "three times as slow";
  EXPECT_EQ(steps_that_fit(100, 1000, 0.1, -5), 101) << "the time is over";
  EXPECT_EQ(steps_that_fit(100, 1000, -1, 108), 1000) << "nothing is known yet";

  Scripted slow({});
  slow.slowness = std::chrono::milliseconds(20);
  auto options = every(1'000'000, 0);
  options.save_every = 5;
  options.planned_seconds = 4;
  const auto folder = scratch_folder("loop-planned");
  const auto end = run_training(slow, options, folder);
  EXPECT_TRUE(end.done);
  EXPECT_LT(end.planned, 250);
  EXPECT_EQ(end.planned, end.step) << "its schedules come to their end";
  EXPECT_EQ(slow.planned, end.planned);

  Scripted fixed({});
  fixed.slowness = std::chrono::milliseconds(20);
  fixed.fixed = true;
  options.steps = 300;
  EXPECT_EQ(run_training(fixed, options, scratch_folder("loop-fixed")).step, 300) << "a task may say no";
}

TEST(TrainingLoop, AResumedRunGoesOnWithTheStepsThatItHadComeTo) {
  const auto folder = scratch_folder("loop-planned-resume");
  Scripted first({});
  first.planned = 40;
  (void)run_training(first, every(30, 0), folder);  // its state says 40 steps, of which 30 are done
  Scripted second({});
  auto options = every(1000, 0);
  options.resume = options.planned_by_time = true;
  EXPECT_EQ(run_training(second, options, folder).step, 40);
}

TEST(TrainingLoop, TheBundleHoldsTheBestOfTheRun) {
  Scripted task(Scores{{3}, {1}, {2}, {2}});
  const auto end = run_training(task, every(8, 2), scratch_folder("loop-best"));
  EXPECT_TRUE(end.done);
  EXPECT_EQ(task.validated, (std::vector<std::int64_t>{2, 4, 6, 8}));
  EXPECT_EQ(task.written, (std::vector<std::int64_t>{2, 4}));
  EXPECT_EQ(task.weight_written, 4);
  EXPECT_EQ(end.best_step, 4);
  EXPECT_EQ(*end.best, 1);
}

TEST(TrainingLoop, WithoutAJudgementTheLatestWeightsAreKept) {
  Scripted task(Scores{});
  const auto end = run_training(task, every(6, 2), scratch_folder("loop-latest"));
  EXPECT_EQ(task.written, (std::vector<std::int64_t>{2, 4, 6}));
  EXPECT_FALSE(end.best.has_value());
  EXPECT_EQ(end.best_step, 6);
}

TEST(TrainingLoop, ALaterPhaseBeginsAnew) {
  Scripted task(Scores{{1, 0}, {5, 1}, {4, 1}});
  run_training(task, every(6, 2), scratch_folder("loop-phase"));
  EXPECT_EQ(task.written, (std::vector<std::int64_t>{2, 4, 6})) << "another loss is not compared with the one before";
}

TEST(TrainingLoop, ARuinedRunIsTakenBackToItsBestState) {
  const auto folder = scratch_folder("loop-back");
  Scripted task(Scores{{1}, {5}, {0.9}, {0.8}});
  task.goes_back = true;
  const auto end = run_training(task, every(6, 2), folder);
  EXPECT_EQ(task.returns, 1);
  // 2 is good, 4 is ruined and begins again from 2, 4 is good now, then the end.
  EXPECT_EQ(task.validated, (std::vector<std::int64_t>{2, 4, 4, 6}));
  EXPECT_EQ(task.weight_written, 6) << "steps made on a ruined state do not count";
  EXPECT_EQ(end.best_step, 6);
  EXPECT_FALSE(fs::exists(folder / "best.safetensors")) << "kept for the run alone";
}

TEST(TrainingLoop, ARunThatGainsNothingEnds) {
  Scripted task(Scores{{3}, {1}, {2}});
  auto options = every(100, 2);
  options.patience = 3;
  const auto end = run_training(task, options, scratch_folder("loop-patience"));
  EXPECT_TRUE(end.done);
  EXPECT_EQ(end.step, 10);
  EXPECT_EQ(end.best_step, 4);
}

TEST(TrainingLoop, TheBestIsRememberedWhenARunIsResumed) {
  const auto folder = scratch_folder("loop-resume");
  Scripted first(Scores{{1}, {2}});
  run_training(first, every(4, 2), folder);
  Scripted second(Scores{{1.5}});
  auto options = every(6, 2);
  options.resume = true;
  const auto end = run_training(second, options, folder);
  EXPECT_TRUE(second.written.empty()) << "1.5 is no gain over 1";
  EXPECT_EQ(end.best_step, 2);
}

/// What is said to a run on other pictures, so many, that goes on from one on 12.
std::string refusal_of_other_pictures(int count) {
  const auto folder = scratch_folder("loop-data");
  Scripted first(Scores{});
  run_training(first, every(4, 0), folder);
  Scripted second(Scores{});
  second.key = "two";
  second.count = count;
  auto options = every(8, 0);
  options.resume = true;
  try {
    run_training(second, options, folder);
    return "accepted";
  } catch (const Error& error) {
    return error.what();
  }
}

TEST(TrainingLoop, AsManyOtherPicturesAreSaidToBeOthers) {
  const auto said = refusal_of_other_pictures(12);
  EXPECT_NE(said.find("12 pictures, the data now hold as many, but not the same pixels"), std::string::npos) << said;
}

TEST(TrainingLoop, OtherPicturesAreNamedByTheirNumber) {
  const auto said = refusal_of_other_pictures(13);
  EXPECT_NE(said.find("was trained on 12 pictures, the data now hold 13 pictures"), std::string::npos) << said;
  EXPECT_NE(said.find("--start-from"), std::string::npos) << said;
}

TEST(TrainingLoop, ByTimeTheFirstLookComesEarlyAndLooksStayCheap) {
  EXPECT_EQ(seconds_to_next(40, 1), 60);
  EXPECT_EQ(seconds_to_next(200, 1), 200);
  EXPECT_EQ(seconds_to_next(5000, 1), 600);
  EXPECT_EQ(seconds_to_next(100, 30), 360) << "at most a twelfth of the time";
  Scripted task(Scores{{1}});
  LoopOptions options;
  options.steps = 3;
  run_training(task, options, scratch_folder("loop-time"));
  EXPECT_EQ(task.validated, (std::vector<std::int64_t>{3})) << "a run of a moment is looked at once, at its end";
}

TEST(FolderLock, KeepsASecondTrainingOut) {
  const auto folder = scratch_folder("lock") / "training";
  {
    const FolderLock lock(folder);
    try {
      const FolderLock second(folder);
      FAIL() << "two at once";
    } catch (const Error& error) {
      const std::string said = error.what();
      EXPECT_NE(said.find("another training writes there (process " + std::to_string(::getpid()) + ")"),
                std::string::npos)
          << said;
    }
  }
  EXPECT_FALSE(fs::exists(folder)) << "nothing was put into it";
  EXPECT_NO_THROW(FolderLock lock(folder)) << "given back";
  {
    const FolderLock lock(folder);
    fs::create_directories(folder / "codec");
  }
  EXPECT_TRUE(fs::exists(folder / "codec"));
  EXPECT_FALSE(fs::exists(folder / ".lock"));
}

TEST(Progress, SaysNothingBeforeItKnows) {
  Progress progress("work", 0, 100, "images");
  EXPECT_LT(progress.seconds_left(), 0);
  progress.update(1, "");
  EXPECT_LT(progress.seconds_left(), 0) << "the first step is not like those to come";
}

TEST(CodebookCare, CountsFromTheFirstStep) {
  CodebookCare care(16, 100, 1000, 1);
  CodecOptions options;
  options.codebook_size = 16;
  options.embedding_width = 4;
  const auto quantizer = make_quantizer(options);
  care.after_step(0, torch::tensor({{3, 4}, {3, 5}}), *quantizer, torch::zeros({1, 4, 2, 2}));
  EXPECT_EQ(care.codes_in_use(), 3);
}

TEST(TakeMatching, SaysWhatCouldNotBeTakenOver) {
  TensorMap own{{"a", torch::zeros({2})}, {"b", torch::zeros({3})}, {"c", torch::zeros({1})}};
  const auto result = take_matching(own, {{"a", torch::ones({2})}, {"b", torch::ones({4})}, {"d", torch::ones({1})}});
  EXPECT_EQ(result.taken, 1);
  EXPECT_TRUE(own.at("a").equal(torch::ones({2})));
  EXPECT_TRUE(own.at("b").equal(torch::zeros({3})));
  EXPECT_EQ(result.text("M"), "start_from: M: 1 of 3 tensors taken over; anew: b, c; not used: d");
}

}  // namespace training_loop_test
}  // namespace tessera
