/// A backend behind the border of a process: what crosses it, and what happens when the other side ends.
#include "server/process_backend.h"

#include <gtest/gtest.h>

#include <limits>

#include "server/apart.h"

namespace tessera::testing {
namespace process_backend_test {

constexpr std::chrono::milliseconds kNow{0};

struct Bench {
  Bench() : queue(limits, metrics), worker(apart.backend, queue, limits, metrics) {
    EXPECT_TRUE(apart.backend.ready());
  }

  static ServiceLimits eager() {
    ServiceLimits own;
    own.gather_ms = 0;
    own.batch = 8;
    return own;
  }

  ServiceLimits limits = eager();
  FakeBackend models;
  Metrics metrics;
  Apart apart{models, limits, metrics};
  JobQueue queue;
  Worker worker;
};

/// A pair of sockets.
struct Pair {
  explicit Pair(std::uint64_t most = 1 << 20) {
    int pair[2] = {-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    raw = pair[0];
    near = std::make_unique<MessageSocket>(pair[0], most);
    far = std::make_unique<MessageSocket>(pair[1], most);
  }
  int raw = -1;
  std::unique_ptr<MessageSocket> near, far;
};

TEST(ServerProcess, EveryCallGivesWhatItGivesWithoutABorder) {
  Bench bench;
  auto& there = bench.apart.backend;
  auto& here = bench.models;
  TokenArray grid{2, 3, {1, 2, 3, -1, 5, 6}};
  EXPECT_EQ(there.decode("tiny", grid), here.decode("tiny", grid));
  Image picture(8, 6, Colour{1, 2, 3});
  EXPECT_EQ(there.encode("tiny", picture), here.encode("tiny", picture));
  CandidateRequest asked;
  asked.tokens = grid;
  asked.count = 3;
  const auto candidates = there.candidates("tiny", asked);
  ASSERT_EQ(candidates.size(), 3u);
  EXPECT_EQ(candidates[2].token, 2);
  EXPECT_EQ(candidates[2].probability, 1.0 / 3);
  EXPECT_EQ(candidates[2].thumbnail, Image(2, 2));
  ScoreRequest scored;
  scored.grids = {grid, grid};
  EXPECT_EQ(there.score("tiny", scored).log_probabilities, here.score("tiny", scored).log_probabilities);
  const auto job = there.prepare(*job_for(5, 2));
  const auto same = here.prepare(*job_for(5, 2));
  EXPECT_EQ(job->start, same->start);
  EXPECT_EQ(job->area, same->area);
  EXPECT_EQ(job->effective, same->effective);
  EXPECT_EQ(there.picture(*job, 0, job->start[0]), here.picture(*same, 0, same->start[0]));
  EXPECT_EQ(there.guess(*job, 0, job->start[0]), here.guess(*same, 0, same->start[0]));
}

TEST(ServerProcess, WhatIsThrownThereIsThrownHere) {
  const auto again = [](auto thrown) {
    try {
      throw_again(thrown_message(std::make_exception_ptr(thrown)));
    } catch (const HttpError& error) {
      return fmt::format("http {} {} {}", error.status, error.field, error.what());
    } catch (const Unwanted&) {
      return std::string("unwanted");
    } catch (const UsageError& error) {
      return fmt::format("usage {}", error.what());
    } catch (const Error& error) {
      return fmt::format("error {}", error.what());
    } catch (const std::bad_alloc&) {
      return std::string("memory");
    } catch (const std::exception& error) {
      return fmt::format("internal {}", error.what());
    }
  };
  EXPECT_EQ(again(HttpError(404, "no such thing", "thing")), "http 404 thing no such thing");
  EXPECT_EQ(again(Unwanted("x")), "unwanted");
  EXPECT_EQ(again(UsageError("x")), "usage x");
  EXPECT_EQ(again(Error("x")), "error x");
  EXPECT_EQ(again(std::bad_alloc()), "memory");
  EXPECT_EQ(again(std::logic_error("x")), "internal x");
}

TEST(ServerProcess, NumbersCrossTheBorderWithAllTheirBits) {
  Scores scores;
  scores.log_probabilities = {{-0.1, -1e-300, -std::numeric_limits<double>::infinity()}};
  Message message;
  put_scores(message, scores);
  Pair pair;
  pair.near->send(message);
  EXPECT_EQ(scores_in(pair.far->receive()).log_probabilities, scores.log_probabilities);
}

TEST(ServerProcess, AMessageOfAnotherSizeThanItSaysIsRefusedBeforeItTakesMemory) {
  Message message;
  message.parts.emplace_back(2000, 'x');
  const Pair narrow(1000);
  EXPECT_THROW(narrow.near->send(message), Error);
  const std::string noise(64, 'x');
  EXPECT_EQ(::send(narrow.raw, noise.data(), noise.size(), 0), 64);
  EXPECT_THROW(narrow.far->receive(), PeerGone);
  message.parts[0].resize(7);
  EXPECT_THROW(codes_in(message, 0), Malformed);
  EXPECT_THROW(codes_in(message, 1), Malformed);
  EXPECT_THROW(image_in(message, {8, 8, 0}), Malformed);
  EXPECT_THROW(tokens_in(message, {1LL << 40, 1LL << 40, 0}), Malformed);
}

TEST(ServerProcess, WhatMakesNoSenseEndsTheOtherSideAlone) {
  Bench bench;
  Message nonsense;
  nonsense.head["call"] = "dance";
  bench.apart.peer.load()->socket().send(nonsense);
  for (int i = 0; i < 1000 && !bench.apart.peer.load()->ended(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_TRUE(bench.apart.peer.load()->ended());
  EXPECT_FALSE(bench.apart.backend.ready()) << "it is started again after a pause";
  EXPECT_EQ(bench.metrics.value("tessera_worker_ends_total"), 1);
  for (int i = 0; i < 1000 && !bench.apart.backend.ready(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(bench.apart.started, 2);
}

TEST(ServerProcess, AnAnswerThatMakesNoSenseEndsTheOneThatGaveIt) {
  struct Confused : Peer {
    Confused()
        : thread([this] {
            try {
              for (;;) {
                (void)pair.far->receive();
                pair.far->send(Message());
              }
            } catch (const PeerGone&) {
            }
          }) {}
    ~Confused() override { Confused::end(); }
    Confused(const Confused&) = delete;
    Confused& operator=(const Confused&) = delete;
    MessageSocket& socket() override { return *pair.near; }
    std::string name() const override { return "thread"; }
    bool ended() override { return false; }
    std::string end() override {
      pair.near->shut();
      if (thread.joinable()) thread.join();
      return "was ended";
    }
    Pair pair;
    std::thread thread;
  };
  Metrics metrics;
  ProcessBackend backend(
      "worker 3", FakeBackend().models(), [](const std::atomic<bool>&) { return std::make_unique<Confused>(); },
      metrics);
  try {
    backend.decode("tiny", {1, 1, {3}});
    FAIL() << "nonsense was taken for an answer";
  } catch (const HttpError& error) {
    EXPECT_EQ(error.status, 503);
    EXPECT_EQ(std::string(error.what()).find("worker 3 (thread) was ended: "), 0u) << error.what();
  }
}

TEST(ServerProcess, ALostOneFailsItsJobInALineThatNamesItAndTheNextIsDone) {
  Bench bench;
  const auto lost = bench.queue.submit(job_for(1), "a");
  const auto next = bench.queue.submit(job_for(2, 16), "b");  // does not join
  bench.models.on_step = [&](std::int64_t step) {
    if (step == 3 && !is_final(lost->state())) bench.apart.peer.load()->kill();
  };
  const auto until = Clock::now() + std::chrono::seconds(30);
  while (!is_final(next->state()) && Clock::now() < until) bench.worker.run_once(std::chrono::milliseconds(20));
  EXPECT_EQ(lost->state(), JobState::failed);
  EXPECT_EQ(lost->status().error, "worker 0 (thread) was killed");
  ASSERT_EQ(next->state(), JobState::done) << next->status().error;
  EXPECT_EQ(next->status().results[15]->tokens[2], FakeBackend::code_of(2, 15, 2));
  EXPECT_EQ(bench.apart.started, 2);
}

TEST(ServerProcess, AJobOfSeveralFillsIsPreparedAnewWhereItsProcessWasLostBetweenThem) {
  Bench bench;
  const auto job = bench.queue.submit(job_for(1, 16), "a");
  bench.worker.run_once(kNow);
  ASSERT_EQ(job->status().results.size(), 8u);
  bench.apart.peer.load()->kill();
  const auto until = Clock::now() + std::chrono::seconds(30);
  while (!is_final(job->state()) && Clock::now() < until) bench.worker.run_once(std::chrono::milliseconds(20));
  ASSERT_EQ(job->state(), JobState::done) << job->status().error;
  EXPECT_EQ(job->status().results[15]->tokens[2], FakeBackend::code_of(1, 15, 2));
}

TEST(ServerProcess, SmallJobsThatWaitAreNotDrawnIntoTheEndOfALargeOne) {
  Bench bench;
  auto wide = std::make_shared<JobRequest>(*job_for(1));
  wide->width = wide->height = 32;
  const auto large = bench.queue.submit(wide, "large");
  std::shared_ptr<Job> small;
  bench.models.on_step = [&](std::int64_t step) {
    if (step != 3 || small) return;
    small = bench.queue.submit(job_for(2), "small");
    bench.apart.peer.load()->kill();
  };
  bench.worker.run_once(kNow);
  EXPECT_EQ(large->state(), JobState::failed);
  EXPECT_EQ(small->state(), JobState::queued);
}

TEST(ServerProcess, JobsThatAreLetGoAreLetGoThere) {
  struct Counting : FakeBackend {
    struct Counted : PreparedJob {
      Counted(const PreparedJob& like, std::atomic<int>& count) : PreparedJob(like), alive(count) { ++alive; }
      ~Counted() override { --alive; }
      Counted(const Counted&) = delete;
      Counted& operator=(const Counted&) = delete;
      std::atomic<int>& alive;
    };
    std::unique_ptr<PreparedJob> prepare(const JobRequest& request) override {
      return std::make_unique<Counted>(*FakeBackend::prepare(request), alive);
    }
    std::atomic<int> alive{0};
  } models;
  Metrics metrics;
  Apart apart(models, {}, metrics);
  auto job = apart.backend.prepare(*job_for(1));
  const auto other = apart.backend.prepare(*job_for(2));
  EXPECT_EQ(models.alive, 2);
  job.reset();
  EXPECT_NO_THROW(apart.backend.decode("tiny", {1, 1, {3}}));  // which tells it
  EXPECT_EQ(models.alive, 1);
}

TEST(ServerProcess, ModelsAreKnownFromAnyThreadWithoutAsking) {
  Bench bench;
  bench.models.step_milliseconds = 20;
  const auto job = bench.queue.submit(job_for(1), "a");
  bench.worker.start();
  while (job->state() == JobState::queued) std::this_thread::yield();
  const auto begin = Clock::now();
  EXPECT_EQ(bench.apart.backend.models().size(), 2u);
  EXPECT_LT(Clock::now() - begin, std::chrono::milliseconds(15));
  bench.worker.stop(std::chrono::seconds(20));
  EXPECT_EQ(job->state(), JobState::done);
}

/// Two workers on one queue, each with models of its own.
struct Two {
  Two() {
    for (int i = 0; i < 2; ++i) {
      apart[i] = std::make_unique<Apart>(models[i], limits, metrics, fmt::format("worker {}", i));
      models[i].step_milliseconds = 10;
    }
    service = std::make_unique<Service>(std::vector<Backend*>{&apart[0]->backend, &apart[1]->backend}, metrics,
                                        ServiceOptions{limits, {}});
    service->start();
    while (apart[0]->started == 0 || apart[1]->started == 0) std::this_thread::yield();
  }
  ~Two() { service->stop(); }

  ServiceLimits limits = [] {
    auto own = Bench::eager();
    own.grace_seconds = 0;
    return own;
  }();
  FakeBackend models[2];
  Metrics metrics;
  std::unique_ptr<Apart> apart[2];
  std::unique_ptr<Service> service;
};

TEST(ServerWorkers, TwoJobsRunAtOnce) {
  Two two;
  const auto first = two.service->submit(*job_for(1), "a");
  while (first->state() == JobState::queued) std::this_thread::yield();
  const auto second = two.service->submit(*job_for(2), "b");
  bool together = false;
  while (!is_final(first->state()) || !is_final(second->state())) {
    together = together || (first->state() == JobState::running && second->state() == JobState::running);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_TRUE(together);
  EXPECT_EQ(first->state(), JobState::done);
  EXPECT_EQ(second->state(), JobState::done);
  EXPECT_EQ(two.models[0].fills.size(), 1u);
  EXPECT_EQ(two.models[1].fills.size(), 1u);
  EXPECT_EQ(second->status().results[0]->tokens[3], FakeBackend::code_of(2, 0, 3));
}

TEST(ServerWorkers, SmallWorkGoesToTheOneThatIsIdle) {
  Two two;
  two.models[0].step_milliseconds = two.models[1].step_milliseconds = 200;
  const auto job = two.service->submit(*job_for(1), "a");
  while (job->state() == JobState::queued) std::this_thread::yield();
  const auto begin = Clock::now();
  EXPECT_EQ(two.service->worker().run_soon([](Backend& backend) {
    return backend.decode("tiny", {1, 1, {3}}).width;
  }),
            2);
  EXPECT_LT(Clock::now() - begin, std::chrono::milliseconds(190)) << "it did not wait for a step";
  job->cancel();
}

TEST(ServerWorkers, WhatOneLosesLeavesTheOthersJobAlone) {
  Two two;
  const auto first = two.service->submit(*job_for(1), "a");
  const auto second = two.service->submit(*job_for(2), "b");
  while (first->state() == JobState::queued || second->state() == JobState::queued) std::this_thread::yield();
  two.apart[0]->peer.load()->kill();
  EXPECT_TRUE(first->wait_final(Clock::now() + std::chrono::seconds(20)));
  EXPECT_TRUE(second->wait_final(Clock::now() + std::chrono::seconds(20)));
  EXPECT_NE(first->state(), second->state());
  const auto& failed = first->state() == JobState::failed ? first : second;
  EXPECT_EQ(failed->status().error, "worker 0 (thread) was killed");
  const auto third = two.service->submit(*job_for(3), "c");
  EXPECT_TRUE(third->wait_final(Clock::now() + std::chrono::seconds(20)));
  EXPECT_EQ(third->state(), JobState::done);
}

TEST(ServerWorkers, AStopEndsAllOfThem) {
  Two two;
  two.models[0].step_milliseconds = two.models[1].step_milliseconds = 50;
  const auto first = two.service->submit(*job_for(1, 8), "a");
  const auto second = two.service->submit(*job_for(2, 8), "b");
  while (first->state() == JobState::queued || second->state() == JobState::queued) std::this_thread::yield();
  two.service->stop();
  EXPECT_EQ(first->status().error, "the server was stopped before the job was done");
  EXPECT_EQ(second->status().error, "the server was stopped before the job was done");
}

}  // namespace process_backend_test
}  // namespace tessera::testing
