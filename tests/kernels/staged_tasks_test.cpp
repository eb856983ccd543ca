#include "kernels/parallel/staged_tasks.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <thread>
#include <vector>

namespace tessera {
namespace staged_tasks_test {

struct Step {
  std::int64_t tasks;
  std::size_t phase, shard, place;
};

/// Three phases, shards of several steps, one step without tasks.
StagedTasks<Step> example() {
  StagedTasks<Step> tasks;
  const std::vector<std::array<std::vector<std::int64_t>, kShards>> counts = {
      {{{4}, {3}}}, {{{16, 1, 7}, {16, 2}}}, {{{5}, {0}}}};
  for (std::size_t phase = 0; phase < counts.size(); ++phase) {
    auto& made = tasks.phases.emplace_back();
    for (std::size_t shard = 0; shard < made.size(); ++shard) {
      for (std::size_t place = 0; place < counts[phase][shard].size(); ++place) {
        made[shard].push_back({counts[phase][shard][place], phase, shard, place});
      }
    }
  }
  return tasks;
}

TEST(StagedTasks, EachOnceAndAfterAllThatItFollows) {
  const auto tasks = example();
  ASSERT_EQ(tasks.steps(), 9u);
  for (const std::int64_t threads : {1, 2, 3, 5}) {
    for (int repeat = 0; repeat < 50; ++repeat) {
      std::vector<StepProgress> progress(tasks.steps());
      std::array<std::array<std::array<std::atomic<std::int64_t>, 3>, kShards>, 3> done = {};
      std::atomic<bool> in_order{true};
      const auto all_done = [&](std::size_t phase, std::size_t shard, std::size_t places) {
        for (std::size_t place = 0; place < places; ++place) {
          if (done[phase][shard][place] != tasks.phases[phase][shard][place].tasks) return false;
        }
        return true;
      };
      const auto run = [&](const Step& step, std::int64_t begin, std::int64_t end) {
        bool follows = begin < end && end <= step.tasks && all_done(step.phase, step.shard, step.place);
        for (std::size_t shard = 0; step.phase > 0 && shard < 2; ++shard) {
          follows = follows && all_done(step.phase - 1, shard, tasks.phases[step.phase - 1][shard].size());
        }
        if (!follows) in_order = false;
        done[step.phase][step.shard][step.place] += end - begin;
      };
      std::vector<std::thread> others;
      for (std::int64_t thread = 1; thread < threads; ++thread) {
        others.emplace_back([&, thread] { tasks.work(progress, thread, threads, run); });
      }
      tasks.work(progress, 0, threads, run);
      for (auto& other : others) other.join();
      EXPECT_TRUE(in_order) << threads << " threads";
      for (const auto& phase : tasks.phases) {
        for (const auto& shard : phase) {
          for (const auto& step : shard) EXPECT_EQ(done[step.phase][step.shard][step.place], step.tasks);
        }
      }
    }
  }
}

TEST(StagedTasks, OneThreadThatComesDoesTheWorkOfAll) {
  const auto tasks = example();
  std::vector<StepProgress> progress(tasks.steps());
  std::int64_t done = 0;
  const auto run = [&](const Step&, std::int64_t begin, std::int64_t end) { done += end - begin; };
  tasks.work(progress, 3, 4, run);
  EXPECT_EQ(done, 4 + 3 + 16 + 1 + 7 + 16 + 2 + 5);
  tasks.work(progress, 0, 4, run);  // the others find nothing left
  EXPECT_EQ(done, 4 + 3 + 16 + 1 + 7 + 16 + 2 + 5);
}

}  // namespace staged_tasks_test
}  // namespace tessera
