#include "server/small_jobs.h"

#include <gtest/gtest.h>

#include "server/apart.h"

namespace tessera::testing {
namespace small_jobs_test {

constexpr std::chrono::milliseconds kNow{0};

ServiceLimits eager() {
  ServiceLimits limits;
  limits.gather_ms = 0;
  limits.batch = 8;
  return limits;
}

/// A worker whose steps are called here, one after the other.
struct Bench {
  explicit Bench(ServiceLimits given = eager())
      : limits(given), queue(limits, metrics), worker(where.backend(), queue, limits, metrics) {}

  /// A canvas of `side` cells: as many steps as cells.
  std::shared_ptr<Job> submit(std::uint64_t seed, std::int64_t side, const std::string& client) {
    auto request = std::make_shared<JobRequest>(*job_for(seed));
    request->width = request->height = side * FakeBackend::kFactor;
    return queue.submit(request, client);
  }
  /// Fills begun so far.
  std::size_t fill() const { return backend.fills.size(); }

  ServiceLimits limits;
  FakeBackend backend;
  Metrics metrics;
  MaybeApart where{backend, limits, metrics};
  JobQueue queue;
  Worker worker;
};

TEST(ServerSmallJobs, ASmallJobIsDoneBetweenTwoStepsOfALargeOne) {
  Bench bench;
  const auto large = bench.submit(1, 16, "large");
  std::shared_ptr<Job> small;
  JobState small_then = JobState::queued;
  std::int64_t position = -1;
  bench.backend.on_step = [&](std::int64_t step) {
    if (bench.fill() == 1 && step == 3) small = bench.submit(2, 4, "small");
    if (bench.fill() == 2 && step == 4 && large->status().step == 3) small_then = small->state();
    if (bench.fill() == 2 && step == 17) position = bench.queue.position(*small);
  };
  bench.worker.run_once(kNow);
  EXPECT_EQ(small_then, JobState::done);
  EXPECT_EQ(position, 0);
  ASSERT_EQ(large->state(), JobState::done);
  ASSERT_EQ(small->status().results.size(), 1u);
  EXPECT_EQ(bench.metrics.value("tessera_fills_between_total"), 1);
  EXPECT_EQ(bench.metrics.value("tessera_jobs_total", "state=\"done\""), 2);
  EXPECT_TRUE(bench.queue.quiet());
  // Each as it is alone.
  for (const auto& [job, side] : {std::pair{large, 16}, std::pair{small, 4}}) {
    Bench alone;
    const auto same = alone.submit(job->seed, side, "only");
    alone.worker.run_once(kNow);
    EXPECT_EQ(job->status().results[0]->tokens, same->status().results[0]->tokens);
    EXPECT_EQ(job->status().results[0]->order, same->status().results[0]->order);
    EXPECT_EQ(job->status().evaluations, same->status().evaluations);
    EXPECT_EQ(job->status().step, same->status().step);
  }
}

TEST(ServerSmallJobs, ASmallJobIsDoneInTheMiddleOfAStepToo) {
  Bench bench;
  const auto large = bench.submit(1, 16, "large");
  std::shared_ptr<Job> small;
  JobState small_then = JobState::queued;
  bench.backend.in_step = [&](std::int64_t step) {
    if (bench.fill() != 1 || step != 1) return;
    small = bench.submit(2, 4, "small");
    check_wanted();
    small_then = small->state();
  };
  bench.worker.run_once(kNow);
  EXPECT_EQ(small_then, JobState::done);
  EXPECT_EQ(large->state(), JobState::done);
}

TEST(ServerSmallJobs, WhatAsksForTheSameKindOfFillIsDoneTogether) {
  Bench bench;
  const auto large = bench.submit(1, 16, "large");
  std::vector<std::shared_ptr<Job>> small;
  bench.backend.on_step = [&](std::int64_t step) {
    if (bench.fill() != 1 || step != 3) return;
    for (std::uint64_t seed = 2; seed < 6; ++seed) small.push_back(bench.submit(seed, 4, fmt::format("{}", seed)));
  };
  bench.worker.run_once(kNow);
  ASSERT_EQ(bench.fill(), 2u);
  EXPECT_EQ(bench.backend.fills[1].seeds.size(), 4u);
  for (const auto& job : small) EXPECT_EQ(job->state(), JobState::done);
}

TEST(ServerSmallJobs, AJobThatIsNotSmallWaitsForItsTurn) {
  Bench bench;
  bench.backend.step_milliseconds = 5;
  const auto first = bench.submit(1, 16, "a");
  const auto second = bench.submit(2, 15, "b");  // of another grid: they cannot be filled together
  bench.worker.run_once(kNow);
  EXPECT_EQ(first->state(), JobState::done);
  EXPECT_EQ(second->state(), JobState::queued);
}

TEST(ServerSmallJobs, AStreamOfSmallJobsLeavesALargeOneItsHalf) {
  Bench bench;
  bench.backend.step_milliseconds = 1;
  const auto large = bench.submit(1, 16, "large");
  std::uint64_t seed = 2;
  // Each small one that begins is followed by another: without a bound on their time the first never goes on.
  bench.backend.on_step = [&](std::int64_t step) {
    if (step == 1 && !is_final(large->state())) bench.submit(++seed, 4, fmt::format("client {}", seed));
  };
  bench.worker.run_once(kNow);
  EXPECT_EQ(large->state(), JobState::done);
  EXPECT_GT(bench.metrics.value("tessera_fills_between_total"), 1);
}

TEST(ServerSmallJobs, ALargeJobThatIsCancelledMeanwhileEndsAndTheSmallOneIsDone) {
  Bench bench;
  const auto large = bench.submit(1, 16, "large");
  std::shared_ptr<Job> small;
  bench.backend.on_step = [&](std::int64_t step) {
    if (bench.fill() == 1 && step == 3) small = bench.submit(2, 4, "small");
    if (bench.fill() == 2 && step == 2) large->cancel();
  };
  bench.worker.run_once(kNow);
  EXPECT_EQ(large->state(), JobState::cancelled);
  EXPECT_EQ(small->state(), JobState::done);
}

TEST(ServerSmallJobs, ASmallJobCanBeCancelledWhileItIsDone) {
  Bench bench;
  const auto large = bench.submit(1, 16, "large");
  std::shared_ptr<Job> small;
  bench.backend.on_step = [&](std::int64_t step) {
    if (bench.fill() == 1 && step == 3) small = bench.submit(2, 4, "small");
    if (bench.fill() == 2 && step == 2) small->cancel();
  };
  bench.worker.run_once(kNow);
  EXPECT_EQ(small->state(), JobState::cancelled);
  EXPECT_EQ(large->state(), JobState::done);
}

TEST(ServerSmallJobs, ACancelledJobEndsInTheMiddleOfAStep) {
  Bench bench;
  const auto job = bench.submit(1, 16, "a");
  bench.backend.in_step = [&](std::int64_t step) {
    if (step == 3) job->cancel();
    check_wanted();
  };
  bench.worker.run_once(kNow);
  EXPECT_EQ(job->state(), JobState::cancelled);
  EXPECT_EQ(bench.backend.steps_walked, 2);
}

TEST(ServerSmallJobs, TheTimeOfOthersIsNoneOfAFillsOwn) {
  auto limits = eager();
  limits.job_seconds = 1;
  Bench bench(limits);
  const auto large = bench.submit(1, 16, "large");
  bench.backend.on_step = [&](std::int64_t step) {
    if (bench.fill() == 1 && step == 3) {
      // Of two kinds, so that they are done one after the other; with 0.8 s each they take longer than a fill may.
      bench.submit(2, 4, "b");
      bench.submit(3, 3, "c");
    }
    if (bench.fill() > 1 && step <= 4 && large->status().step == 3)
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
  };
  bench.worker.run_once(kNow);
  EXPECT_EQ(large->state(), JobState::done) << large->status().error;
}

TEST(ServerSmallJobs, SmallJobsMayTakeAsMuchTimeAsTheWorkThatTheyInterrupt) {
  const auto begin = TimeCredit::Clock::now() + std::chrono::seconds(10);
  const auto at = [&](double seconds) {
    return begin + std::chrono::duration_cast<TimeCredit::Clock::duration>(std::chrono::duration<double>(seconds));
  };
  TimeCredit credit;
  EXPECT_TRUE(credit.left(at(0)));
  credit.spend(at(0), at(3));  // the head start and two seconds more
  EXPECT_FALSE(credit.left(at(4.9)));
  EXPECT_TRUE(credit.left(at(5.1)));
  credit.spend(at(1000), at(1001.5));  // long waiting gives no more than the head start
  EXPECT_FALSE(credit.left(at(1001.9)));
  EXPECT_TRUE(credit.left(at(1002.1)));
}

TEST(ServerSmallJobs, AJobIsEstimatedByItsWindowsStepsAndPictures) {
  const auto model = FakeBackend().models().at(0);
  auto request = *job_for(1);
  const auto own = static_cast<double>(FakeBackend::kSide * FakeBackend::kSide);
  EXPECT_EQ(work_of(request, model).evaluations, own);
  EXPECT_EQ(work_of(request, model).cells, own);
  request.count = 3;
  request.sampling.set("steps", 2);
  EXPECT_EQ(work_of(request, model).evaluations, 6);
  request.width = 2 * model.width;
  request.height = model.height;
  EXPECT_EQ(work_of(request, model).evaluations, 6 * 3) << "three windows, half a window apart";
  JobSeconds seconds;
  seconds.note(model.name, 10, 1);
  EXPECT_NEAR(seconds.of({100, 20}, model, 0.1), 10 + 2 * 20 * 0.1, 0.01);
}

}  // namespace small_jobs_test
}  // namespace tessera::testing
