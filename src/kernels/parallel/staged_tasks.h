/// Work whose steps follow one another, shared by threads that stay together from the first step to the last.
///
/// A step is a number of tasks. Steps lie on two shards; a shard's steps follow one another, the two shards of a phase
/// do not wait for each other, and a phase begins when both shards of the one before are done. Thread t begins with
/// shard t mod 2 and, when nothing is left to take there, helps on the other: in every phase it finds in its own cache
/// what it wrote for that shard in the one before, and no thread waits long for a slow one.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "kernels/parallel/tasks.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace tessera {

inline constexpr std::int64_t kShards = 2;

/// How far the tasks of one step are.
class StepProgress {
 public:
  /// body(begin, end) for ranges of the `tasks`, each a `share`-th of what is left, until none is left to take.
  template <typename Body>
  void work(std::int64_t tasks, std::int64_t share, const Body& body) {
    for (;;) {
      const auto [begin, end] = take_chunk(taken_, tasks, share);
      if (begin == end) return;
      body(begin, end);
      done_.fetch_add(end - begin, std::memory_order_release);
    }
  }

  /// Returns when all are done, by whichever thread.
  void wait(std::int64_t tasks) const {
    constexpr int kPatience = 256;  // looks, some fifteen microseconds: then other programs may have the processor
    for (int look = 0; done_.load(std::memory_order_acquire) < tasks; ++look) {
      if (look < kPatience) {
#if defined(__x86_64__)
        _mm_pause();
#endif
      } else {
        std::this_thread::yield();
      }
    }
  }

 private:
  alignas(64) std::atomic<std::int64_t> taken_{0};
  std::atomic<std::int64_t> done_{0};
};

/// Step: has `tasks`. A thread that is alone on a shard takes half of what a step has left at a time, several less.
template <typename Step>
struct StagedTasks {
  using Phase = std::array<std::vector<Step>, kShards>;
  std::vector<Phase> phases;

  std::size_t steps() const {
    std::size_t count = 0;
    for (const auto& phase : phases) count += phase[0].size() + phase[1].size();
    return count;
  }

  /// What thread `thread` of `threads` does: run(step, begin, end) for the tasks that fall to it. progress [steps()],
  /// new for every time through. Every thread may call this at any time or never, as long as one does.
  template <typename Run>
  void work(std::vector<StepProgress>& progress, std::int64_t thread, std::int64_t threads, const Run& run) const {
    const auto together = (threads + kShards - 1) / kShards;  // on a shard
    std::size_t first = 0;
    for (const auto& phase : phases) {
      for (std::int64_t turn = 0; turn < kShards; ++turn) {
        const auto shard = static_cast<std::size_t>((thread + turn) % kShards);
        auto at = first + (shard == 0 ? 0 : phase[0].size());
        for (const auto& step : phase[shard]) {
          auto& now = progress[at++];
          now.work(step.tasks, 2 * together, [&](std::int64_t begin, std::int64_t end) { run(step, begin, end); });
          now.wait(step.tasks);
        }
      }
      first += phase[0].size() + phase[1].size();
    }
  }
};

}  // namespace tessera
