/// Tasks that threads take one after another, each when it is free: the threads of a processor need not be alike (cores
/// of two kinds, another program on one of them).
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace tessera {

/// So many tasks for each thread even out what threads differ in.
inline constexpr std::int64_t kTasksAThread = 4;

/// make_worker()(task) for the tasks 0 .. count - 1. A worker belongs to one thread: its scratch may live in it. Which
/// thread takes which task is not determined, so a task's result must not depend on it.
template <typename MakeWorker>
void share_tasks(std::int64_t count, const MakeWorker& make_worker) {
  std::atomic<std::int64_t> next{0};
  at::parallel_for(0, std::min<std::int64_t>(count, at::get_num_threads()), 1, [&](std::int64_t, std::int64_t) {
    std::int64_t task = next++;
    if (task >= count) return;
    auto worker = make_worker();
    for (; task < count; task = next++) worker(task);
  });
}

}  // namespace tessera
