#include "server/worker.h"

#include <gtest/gtest.h>

#include "server/apart.h"

namespace tessera::testing {
namespace worker_test {

constexpr std::chrono::milliseconds kNow{0};

struct Bench {
  explicit Bench(ServiceLimits given = {})
      : limits(given), queue(limits, metrics), worker(where.backend(), queue, limits, metrics) {}

  static ServiceLimits eager() {
    ServiceLimits limits;
    limits.gather_ms = 0;
    limits.batch = 8;
    return limits;
  }

  ServiceLimits limits;
  FakeBackend backend;
  Metrics metrics;
  MaybeApart where{backend, limits, metrics};
  JobQueue queue;
  Worker worker;
};

TEST(ServerWorker, JoinedJobsGetThePicturesTheyGetAlone) {
  Bench together(Bench::eager());
  std::vector<std::shared_ptr<Job>> jobs;
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    jobs.push_back(together.queue.submit(job_for(seed, 2), fmt::format("client {}", seed)));
  }
  together.worker.run_once(kNow);
  ASSERT_EQ(together.backend.fills.size(), 1u);
  EXPECT_EQ(together.backend.fills[0].seeds.size(), 8u);
  EXPECT_EQ(together.metrics.value("tessera_fill_joined_total"), 1);
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    Bench alone(Bench::eager());
    const auto job = alone.queue.submit(job_for(seed, 2), "only");
    alone.worker.run_once(kNow);
    const auto own = job->status(), joined = jobs[seed - 1]->status();
    ASSERT_EQ(joined.state, JobState::done);
    ASSERT_EQ(joined.results.size(), 2u);
    for (std::size_t k = 0; k < 2; ++k) {
      EXPECT_EQ(joined.results[k]->tokens, own.results[k]->tokens);
      EXPECT_EQ(joined.results[k]->picture, own.results[k]->picture);
      EXPECT_EQ(joined.results[k]->order, own.results[k]->order);
    }
    EXPECT_EQ(joined.evaluations, own.evaluations);
  }
}

TEST(ServerWorker, JobsOfOtherGridsAreFilledApart) {
  Bench bench(Bench::eager());
  auto wide = std::make_shared<JobRequest>(*job_for(2));
  wide->width = 16;
  const auto first = bench.queue.submit(job_for(1), "a");
  const auto second = bench.queue.submit(wide, "b");
  while (bench.worker.run_once(kNow)) {
  }
  EXPECT_EQ(bench.backend.fills.size(), 2u);
  EXPECT_EQ(first->state(), JobState::done);
  EXPECT_EQ(second->state(), JobState::done);
  EXPECT_EQ(second->status().w, 8);
}

TEST(ServerWorker, AJobIsCancelledWithinOneStep) {
  Bench bench(Bench::eager());
  const auto job = bench.queue.submit(job_for(1), "a");
  bench.backend.on_step = [&](std::int64_t step) {
    if (step == 3) job->cancel();
  };
  bench.worker.run_once(kNow);
  EXPECT_EQ(job->state(), JobState::cancelled);
  EXPECT_EQ(bench.backend.steps_walked, 3);
  EXPECT_TRUE(job->status().results.empty());
}

TEST(ServerWorker, CancellingOneOfTwoJoinedJobsLeavesTheOtherWhole) {
  Bench bench(Bench::eager());
  const auto lost = bench.queue.submit(job_for(1), "a");
  const auto kept = bench.queue.submit(job_for(2), "b");
  JobState seen = JobState::running;
  bench.backend.on_step = [&](std::int64_t step) {
    if (step == 3) lost->cancel();
    if (step == 5) seen = lost->state();
  };
  bench.worker.run_once(kNow);
  EXPECT_EQ(seen, JobState::cancelled);
  ASSERT_EQ(kept->state(), JobState::done);
  for (std::size_t cell = 0; cell < 16; ++cell) {
    EXPECT_EQ(kept->status().results[0]->tokens[cell], FakeBackend::code_of(2, 0, cell));
  }
  EXPECT_EQ(bench.metrics.value("tessera_evaluations_total"), 16 + 3);
}

TEST(ServerWorker, ManyImagesComeInBatchesUnderTheirOwnNumbers) {
  Bench bench(Bench::eager());
  const auto job = bench.queue.submit(job_for(5, 19), "a");
  while (bench.worker.run_once(kNow)) {
  }
  const auto status = job->status();
  ASSERT_EQ(status.results.size(), 19u);
  EXPECT_EQ(status.step, 48);
  EXPECT_EQ(status.steps, 48);
  for (std::int64_t k = 0; k < 19; ++k) {
    EXPECT_EQ(status.results[static_cast<std::size_t>(k)]->tokens[2], FakeBackend::code_of(5, k, 2));
  }
}

TEST(ServerWorker, SmallWorkRunsBetweenTheStepsOfAFill) {
  Bench bench(Bench::eager());
  bench.backend.step_milliseconds = 5;
  const auto job = bench.queue.submit(job_for(1, 8), "a");
  bench.worker.start();
  while (job->state() == JobState::queued) std::this_thread::yield();
  const auto thread = bench.worker.run_soon([](Backend&) { return std::this_thread::get_id(); });
  if (MaybeApart::is_asked_for()) GTEST_SKIP() << "there the models have a thread of their own";
  EXPECT_EQ(job->state(), JobState::running);
  ASSERT_TRUE(job->wait_final(Clock::now() + std::chrono::seconds(20)));
  bench.worker.stop(std::chrono::seconds(1));
  EXPECT_EQ(bench.backend.fills[0].thread, thread);
}

TEST(ServerWorker, SmallWorkThatThrowsTellsItsAsker) {
  Bench bench(Bench::eager());
  bench.worker.start();
  EXPECT_THROW(bench.worker.run_soon([](Backend&) -> int { fail("nothing there"); }), Error);
  EXPECT_EQ(bench.worker.run_soon([](Backend&) { return 3; }), 3);
}

TEST(ServerWorker, WorkWhoseAskerHasGoneIsGivenUpBetweenItsPieces) {
  Bench bench(Bench::eager());
  bench.worker.start();
  std::atomic<bool> given_up{false}, begun{false};
  const auto large = [&](Backend&) {
    begun = true;
    try {
      for (;;) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        check_wanted();
      }
    } catch (const Unwanted&) {
      given_up = true;
      throw;
    }
    return 0;
  };
  EXPECT_THROW(bench.worker.run_soon({"a", 1 << 20, [&] { return begun.load(); }}, large), HttpError);
  for (int i = 0; i < 1000 && !given_up; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_TRUE(given_up);
  EXPECT_EQ(bench.worker.run_soon([](Backend&) { return 3; }), 3);  // the worker has its hands free
}

TEST(ServerWorker, SmallWorkIsDoneBetweenThePiecesOfLargeWork) {
  Bench bench(Bench::eager());
  bench.worker.start();
  std::atomic<bool> begun{false}, answered{false};
  std::thread asker([&] {
    const auto seen = bench.worker.run_soon({"large", 1 << 20, {}}, [&](Backend&) {
      begun = true;
      const auto until = Clock::now() + std::chrono::seconds(20);
      while (!answered && Clock::now() < until) {
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        check_wanted();
      }
      return answered.load();
    });
    EXPECT_TRUE(seen);
  });
  while (!begun) std::this_thread::yield();
  EXPECT_EQ(bench.worker.run_soon({"small", 16, {}}, [](Backend&) { return 7; }), 7);
  answered = true;
  asker.join();
}

TEST(ServerWorker, AJobHasItsShareBesideWorkThatNeverEnds) {
  Bench bench(Bench::eager());
  std::vector<std::string> ran;
  const auto post = [&](const std::string& client, int milliseconds) {
    bench.queue.post({[&ran, client, milliseconds](Worker&) {
                        std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
                        ran.push_back(client);
                      },
                      client,
                      16,
                      {}});
  };
  for (int i = 0; i < 8; ++i) post("hammer", 300);
  bench.queue.run_posted(bench.worker, {"victim"});
  EXPECT_EQ(ran, (std::vector<std::string>{"hammer"}));  // then the job goes on
  bench.queue.run_posted(bench.worker, {"victim"});
  EXPECT_EQ(ran.size(), 1u);
  post("new", 1);
  bench.queue.run_posted(bench.worker, {"victim"});
  EXPECT_EQ(ran, (std::vector<std::string>{"hammer", "new"}));  // who has had nothing yet comes first
  bench.queue.note_fill({"victim"}, 10);
  bench.queue.run_posted(bench.worker, {"victim"});
  EXPECT_EQ(ran.size(), 9u);  // the job has had far more
}

TEST(ServerWorker, OneClientMayNotFillTheListOfAll) {
  Bench bench(Bench::eager());
  const auto post = [&](const std::string& client) { bench.queue.post({[](Worker&) {}, client, 16, {}}); };
  for (int i = 0; i < 16; ++i) post("a");
  EXPECT_THROW(post("a"), HttpError);
  EXPECT_NO_THROW(post("b"));
  bench.queue.run_posted(bench.worker);
  EXPECT_NO_THROW(post("a"));
}

TEST(ServerWorker, WhatCannotBePreparedFailsInItsOwnWordsAndTheRestGoesOn) {
  Bench bench(Bench::eager());
  const auto bad = bench.queue.submit(job_for(13), "a");
  const auto good = bench.queue.submit(job_for(14), "b");
  while (bench.worker.run_once(kNow)) {
  }
  EXPECT_EQ(bad->state(), JobState::failed);
  EXPECT_EQ(bad->status().error, "seed 13: this model is superstitious");
  EXPECT_EQ(good->state(), JobState::done);
}

TEST(ServerWorker, StoppingFinishesWhatFitsTheGrace) {
  Bench bench(Bench::eager());
  bench.backend.step_milliseconds = 2;
  const auto job = bench.queue.submit(job_for(1), "a");
  bench.worker.start();
  bench.worker.stop(std::chrono::seconds(20));
  EXPECT_EQ(job->state(), JobState::done);
}

TEST(ServerWorker, StoppingWithoutGraceSaysWhatWasNotDone) {
  Bench bench(Bench::eager());
  bench.backend.step_milliseconds = 20;
  const auto running = bench.queue.submit(job_for(1, 8), "a");
  const auto waiting = bench.queue.submit(job_for(2, 8), "a");
  bench.worker.start();
  while (running->state() == JobState::queued) std::this_thread::yield();
  bench.worker.stop(std::chrono::seconds(0));
  EXPECT_EQ(running->status().error, "the server was stopped before the job was done");
  EXPECT_EQ(waiting->status().error, "the server was stopped before the job began");
}

TEST(ServerWorker, AFillThatTakesTooLongIsStopped) {
  auto limits = Bench::eager();
  limits.job_seconds = 1;
  Bench bench(limits);
  bench.backend.step_milliseconds = 200;
  const auto job = bench.queue.submit(job_for(1), "a");
  bench.worker.run_once(kNow);
  EXPECT_EQ(job->state(), JobState::failed);
  EXPECT_LT(bench.backend.steps_walked, 10);
}

TEST(ServerWorker, WatchersGetPreviewsWithinTheirShareOfTheTime) {
  Bench bench(Bench::eager());
  bench.backend.step_milliseconds = 10;
  const auto job = bench.queue.submit(job_for(1), "a");
  job->watchers = 1;
  bench.worker.run_once(kNow);
  Job::View view;
  ASSERT_TRUE(job->look(view, Clock::now()));
  ASSERT_FALSE(view.preview.empty());
  EXPECT_EQ(view.preview[0].width, 8);
  EXPECT_LE(bench.metrics.value("tessera_preview_seconds_total"),
            0.05 * bench.metrics.value("tessera_fill_seconds_total"));
}

TEST(ServerWorker, WhoLooksOnIsToldTheModelsBestGuessOfTheWhole) {
  Bench bench(Bench::eager());
  bench.backend.step_milliseconds = 30;  // so that a guess is within its share of the time
  const auto job = bench.queue.submit(job_for(1), "a");
  job->watchers = 1;
  bench.worker.run_once(kNow);
  Job::View view;
  ASSERT_TRUE(job->look(view, Clock::now()));
  ASSERT_EQ(view.guess.size(), 1u);
  for (int x = 0; x < view.guess[0].width; ++x) EXPECT_NE(view.guess[0].at(x, 0)[0], 128) << "no cell is open";
  EXPECT_GE(bench.metrics.value("tessera_guesses_total"), 1);
  const auto alone = bench.queue.submit(job_for(2), "a");
  const auto before = bench.metrics.value("tessera_guesses_total");
  bench.worker.run_once(kNow);
  EXPECT_EQ(bench.metrics.value("tessera_guesses_total"), before) << "nobody looks";
}

}  // namespace worker_test
}  // namespace tessera::testing
