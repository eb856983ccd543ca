/// Tasks that are shared out evenly among the threads, and taken over where a thread falls behind: the processors need
/// not be alike (cores of two kinds, another program on one of them).
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

namespace tessera {

/// So many tasks for each thread even out what threads differ in.
inline constexpr std::int64_t kTasksAThread = 4;

/// make_worker()(task) for the tasks 0 .. count - 1. Thread t begins with the t-th part of them, so that neighbouring
/// tasks of one operation and the next find their data in its cache, and then takes what is left of the others' parts.
/// A worker belongs to one thread: its scratch may live in it. Which thread takes which task is not determined, so a
/// task's result must not depend on it.
template <typename MakeWorker>
void share_tasks(std::int64_t count, const MakeWorker& make_worker) {
  struct alignas(64) Part {
    std::atomic<std::int64_t> next;
    std::int64_t end;
  };
  const std::int64_t threads = std::min<std::int64_t>(count, at::get_num_threads());
  if (threads <= 1) {
    if (count == 0) return;
    auto worker = make_worker();
    for (std::int64_t task = 0; task < count; ++task) worker(task);
    return;
  }
  std::vector<Part> parts(static_cast<std::size_t>(threads));
  for (std::int64_t t = 0; t < threads; ++t) {
    parts[static_cast<std::size_t>(t)].next = count * t / threads;
    parts[static_cast<std::size_t>(t)].end = count * (t + 1) / threads;
  }
  at::parallel_for(0, threads, 1, [&](std::int64_t begin, std::int64_t) {
    auto worker = make_worker();
    for (std::int64_t t = 0; t < threads; ++t) {
      auto& part = parts[static_cast<std::size_t>((begin + t) % threads)];
      for (auto task = part.next++; task < part.end; task = part.next++) worker(task);
    }
  });
}

/// body(task) for tasks that need no scratch.
template <typename Body>
void for_each_task(std::int64_t count, const Body& body) {
  share_tasks(count, [&] { return [&](std::int64_t task) { body(task); }; });
}

}  // namespace tessera
