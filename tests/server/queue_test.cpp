#include "server/job_queue.h"

#include <gtest/gtest.h>

#include <thread>

#include "server/fake_backend.h"
#include "server/http_message.h"

namespace tessera::testing {
namespace queue_test {

constexpr std::chrono::milliseconds kNow{0};

ServiceLimits limits_of(std::int64_t queue, std::int64_t batch) {
  ServiceLimits limits;
  limits.queue = queue;
  limits.batch = batch;
  limits.gather_ms = 0;
  return limits;
}

/// The seeds of what is taken next.
std::vector<std::uint64_t> taken(JobQueue& queue) {
  std::vector<std::uint64_t> seeds;
  for (const auto& slice : queue.take(kNow)) seeds.push_back(slice.job->seed);
  return seeds;
}

using Seeds = std::vector<std::uint64_t>;

TEST(ServerQueue, PastItsBoundIsAnswered429WithATimeToComeBack) {
  Metrics metrics;
  JobQueue queue(limits_of(2, 1), metrics);
  queue.submit(job_for(1), "a");
  queue.submit(job_for(2), "b");
  try {
    queue.submit(job_for(3), "c");
    FAIL() << "a third job was taken in";
  } catch (const HttpError& error) {
    EXPECT_EQ(error.status, 429);
    EXPECT_GE(error.retry_after, 1);
  }
  EXPECT_EQ(metrics.value("tessera_jobs_refused_total"), 1);
  EXPECT_EQ(taken(queue), Seeds{1});
  EXPECT_NO_THROW(queue.submit(job_for(3), "c"));
}

TEST(ServerQueue, PicturesThatWaitAreBoundedInBytes) {
  auto limits = limits_of(10, 1);
  limits.queue_mib = 1;
  Metrics metrics;
  JobQueue queue(limits, metrics);
  const auto large = [] {
    auto request = std::make_shared<JobRequest>(*job_for(1));
    request->image = std::make_shared<Image>(500, 500);
    return request;
  };
  queue.submit(large(), "a");
  EXPECT_THROW(queue.submit(large(), "a"), HttpError);
}

TEST(ServerQueue, ClientsTakeTurnsWhateverTheyHaveQueued) {
  Metrics metrics;
  JobQueue queue(limits_of(64, 1), metrics);
  for (std::uint64_t seed = 1; seed <= 4; ++seed) queue.submit(job_for(seed), "greedy");
  const auto modest = queue.submit(job_for(100), "modest");
  const auto third = queue.submit(job_for(200), "third");
  EXPECT_EQ(queue.position(*modest), 2);
  EXPECT_EQ(queue.position(*third), 3);
  Seeds order;
  for (int i = 0; i < 6; ++i) order.push_back(taken(queue).at(0));
  EXPECT_EQ(order, (Seeds{1, 100, 200, 2, 3, 4}));
}

TEST(ServerQueue, ALongJobGivesUpItsTurnAfterABatch) {
  Metrics metrics;
  JobQueue queue(limits_of(64, 4), metrics);
  queue.submit(job_for(1, 10), "long");
  auto other = std::make_shared<JobRequest>(*job_for(2, 1));
  other->sampling.set("steps", 3);  // joins nobody
  queue.submit(other, "short");
  EXPECT_EQ(taken(queue), Seeds{1});
  EXPECT_EQ(taken(queue), Seeds{2});
  const auto rest = queue.take(kNow);
  ASSERT_EQ(rest.size(), 1u);
  EXPECT_EQ(rest[0].first, 4);
  EXPECT_EQ(rest[0].count, 4);
}

TEST(ServerQueue, JobsOfEqualOptionsShareABatchAndOthersDoNot) {
  Metrics metrics;
  JobQueue queue(limits_of(64, 4), metrics);
  queue.submit(job_for(1, 2), "a");
  auto other = std::make_shared<JobRequest>(*job_for(2));
  other->sampling.set("temperature", 0.5);
  queue.submit(other, "b");
  queue.submit(job_for(3), "c");
  queue.submit(job_for(4, 3), "d");  // has no room beside the others
  queue.submit(job_for(5), "e");
  EXPECT_EQ(taken(queue), (Seeds{1, 3, 5}));
  EXPECT_EQ(taken(queue), Seeds{2});
  EXPECT_EQ(taken(queue), Seeds{4});
}

TEST(ServerQueue, WhatIsPutBackComesNextWithTheSameImages) {
  Metrics metrics;
  JobQueue queue(limits_of(64, 4), metrics);
  queue.submit(job_for(1, 2), "a");
  const auto slices = queue.take(kNow);
  queue.put_back(slices[0]);
  const auto again = queue.take(kNow);
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again[0].first, 0);
  EXPECT_EQ(again[0].count, 2);
}

TEST(ServerQueue, ACancelledJobIsNotTaken) {
  Metrics metrics;
  JobQueue queue(limits_of(64, 1), metrics);
  const auto job = queue.submit(job_for(1), "a");
  queue.submit(job_for(2), "a");
  EXPECT_TRUE(queue.cancel(*job));
  EXPECT_FALSE(queue.cancel(*job));
  EXPECT_EQ(job->state(), JobState::cancelled);
  EXPECT_EQ(taken(queue), Seeds{2});
  EXPECT_EQ(metrics.value("tessera_jobs_total", "state=\"cancelled\""), 1);
}

TEST(ServerQueue, FinishedJobsAreForgottenAfterTheirTime) {
  auto limits = limits_of(64, 1);
  limits.keep_seconds = 60;
  Metrics metrics;
  JobQueue queue(limits, metrics);
  const auto done = queue.submit(job_for(1), "a");
  const auto waiting = queue.submit(job_for(2), "a");
  done->finish(JobState::done);
  queue.sweep(Clock::now() + std::chrono::seconds(59));
  EXPECT_NE(queue.find(done->id), nullptr);
  queue.sweep(Clock::now() + std::chrono::seconds(61));
  EXPECT_EQ(queue.find(done->id), nullptr);
  EXPECT_NE(queue.find(waiting->id), nullptr);
}

TEST(ServerQueue, ResultsAreBoundedInBytesAndTheOldestGoFirst) {
  auto limits = limits_of(64, 1);
  limits.results_mib = 1;
  Metrics metrics;
  JobQueue queue(limits, metrics);
  std::vector<std::string> ids;
  for (std::uint64_t seed = 0; seed < 3; ++seed) {
    const auto job = queue.submit(job_for(seed), "a");
    job->add_result(std::make_shared<JobResult>(JobResult{Image(400, 400), {}, {}}));  // 480 kB
    job->finish(JobState::done);
    ids.push_back(job->id);
  }
  EXPECT_EQ(queue.find(ids[0]), nullptr);
  EXPECT_NE(queue.find(ids[1]), nullptr);
  EXPECT_NE(queue.find(ids[2]), nullptr);
}

TEST(ServerQueue, AJobStaysWithTheWorkerThatBeganItAndOthersTakeOtherJobs) {
  Metrics metrics;
  JobQueue queue(limits_of(64, 4), metrics);
  queue.submit(job_for(1, 10), "long");
  const auto first = queue.take(kNow, 0);
  ASSERT_EQ(first.size(), 1u);
  EXPECT_TRUE(queue.take(kNow, 1).empty()) << "what is left of the job is not for this one";
  queue.submit(job_for(2, 4), "long");  // of the same client, behind it
  const auto other = queue.take(kNow, 1);
  ASSERT_EQ(other.size(), 1u);
  EXPECT_EQ(other[0].job->seed, 2u);
  const auto rest = queue.take(kNow, 0);
  ASSERT_EQ(rest.size(), 1u);
  EXPECT_EQ(rest[0].job->seed, 1u);
  EXPECT_EQ(rest[0].first, 4);
  EXPECT_FALSE(queue.quiet());
}

TEST(ServerQueue, WhatIsPutBackComesToTheWorkerThatPreparedIt) {
  Metrics metrics;
  JobQueue queue(limits_of(64, 4), metrics);
  queue.submit(job_for(1, 2), "a");
  queue.put_back(queue.take(kNow, 1)[0], 1);
  const auto every = [](Job&) { return true; };
  EXPECT_TRUE(queue.take(kNow, 0).empty());
  EXPECT_TRUE(queue.take_small(every, 0).empty());
  EXPECT_EQ(queue.take_small(every, 1).size(), 1u);
}

TEST(ServerQueue, IdleWorkersShareWhatWaits) {
  auto limits = limits_of(64, 16);
  limits.gather_ms = 200;
  Metrics metrics;
  JobQueue queue(limits, metrics);
  std::vector<std::size_t> sizes(2);
  std::vector<std::thread> workers;
  for (int worker = 0; worker < 2; ++worker) {
    workers.emplace_back(
        [&, worker] { sizes[static_cast<std::size_t>(worker)] = queue.take(std::chrono::seconds(20), worker).size(); });
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // until both wait
  for (std::uint64_t seed = 1; seed <= 4; ++seed) queue.submit(job_for(seed), fmt::format("{}", seed));
  for (auto& each : workers) each.join();
  EXPECT_EQ(sizes, (std::vector<std::size_t>{2, 2}));
}

TEST(ServerQueue, TakesNoMoreOnceClosed) {
  Metrics metrics;
  JobQueue queue(limits_of(64, 1), metrics);
  queue.close();
  try {
    queue.submit(job_for(1), "a");
    FAIL();
  } catch (const HttpError& error) {
    EXPECT_EQ(error.status, 503);
  }
}

}  // namespace queue_test
}  // namespace tessera::testing
