/// Tasks that are shared out evenly among the threads, and taken over where a thread falls behind: the processors need
/// not be alike (cores of two kinds, another program on one of them).
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <utility>
#include <vector>

namespace tessera {

/// So many tasks for each thread even out what threads differ in.
inline constexpr std::int64_t kTasksAThread = 4;

/// Takes a `share`-th of what is left from `next` up to `end`, at least one. Empty: nothing is left.
inline std::pair<std::int64_t, std::int64_t> take_chunk(std::atomic<std::int64_t>& next, std::int64_t end,
                                                        std::int64_t share) {
  auto begin = next.load();
  std::int64_t size = 0;
  do {
    if (begin >= end) return {end, end};
    size = std::max<std::int64_t>(1, (end - begin) / share);
  } while (!next.compare_exchange_weak(begin, begin + size));
  return {begin, begin + size};
}

/// make_worker()(begin, end) for ranges that make up the tasks 0 .. count - 1. Thread t begins with the t-th part of
/// them, so that neighbouring tasks of one operation and the next find their data in its cache, and then takes what is
/// left of the others' parts. At a time it takes a `share`-th of what a part has left: the last pieces are small, and
/// no thread waits long for another. A worker belongs to one thread: its scratch may live in it. Which thread takes
/// which task, and in ranges of what size, is not determined, so a task's result must not depend on it.
template <typename MakeWorker>
void run_chunks(std::int64_t count, std::int64_t share, const MakeWorker& make_worker) {
  struct alignas(64) Part {
    std::atomic<std::int64_t> next;
    std::int64_t end;
  };
  const std::int64_t threads = std::min<std::int64_t>(count, at::get_num_threads());
  if (threads <= 1) {
    if (count > 0) make_worker()(std::int64_t{0}, count);
    return;
  }
  std::vector<Part> parts(static_cast<std::size_t>(threads));
  for (std::int64_t t = 0; t < threads; ++t) {
    parts[static_cast<std::size_t>(t)].next = count * t / threads;
    parts[static_cast<std::size_t>(t)].end = count * (t + 1) / threads;
  }
  at::parallel_for(0, threads, 1, [&](std::int64_t first, std::int64_t) {
    auto worker = make_worker();
    for (std::int64_t t = 0; t < threads; ++t) {
      auto& part = parts[static_cast<std::size_t>((first + t) % threads)];
      for (;;) {
        const auto [begin, end] = take_chunk(part.next, part.end, share);
        if (begin == end) break;
        worker(begin, end);
      }
    }
  });
}

/// make_worker()(task) for the tasks 0 .. count - 1, shared as above one by one.
template <typename MakeWorker>
void run_tasks(std::int64_t count, const MakeWorker& make_worker) {
  run_chunks(count, count, [&] {
    return [worker = make_worker()](std::int64_t begin, std::int64_t end) mutable {
      for (auto task = begin; task < end; ++task) worker(task);
    };
  });
}

/// body(task) for tasks that need no scratch.
template <typename Body>
void for_each_task(std::int64_t count, const Body& body) {
  run_tasks(count, [&] { return [&](std::int64_t task) { body(task); }; });
}

}  // namespace tessera
