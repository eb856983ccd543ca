/// How a matrix product is cut into tasks for share_tasks.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/shared_tasks.h"

namespace tessera {

/// A part of a product, computed by one thread.
struct ProductTask {
  std::int64_t row, rows, channel, channels;
  std::int64_t channel_after;  // first one of the task that the thread is likely to take next, or -1: other rows
};

/// Blocks of rows and groups of output channels, as many as share_tasks wants: then each thread reads but a part of the
/// weights. An element of the result is computed alike in whichever task it falls.
class ProductTasks {
 public:
  /// panel: output channels whose weights lie together.
  ProductTasks(std::int64_t rows, std::int64_t channels, std::int64_t panel) : rows_(rows), channels_(channels) {
    const std::int64_t threads = std::max(1, at::get_num_threads()), tasks = threads == 1 ? 1 : kTasksAThread * threads;
    const std::int64_t blocks = std::max<std::int64_t>(1, up(rows, kMostRows));
    tall_ = std::max<std::int64_t>(1, up(up(rows, blocks), kRows)) * kRows;
    const std::int64_t panels = std::max<std::int64_t>(1, up(channels, panel));
    wide_ = up(panels, std::min(up(tasks, blocks), panels)) * panel;
  }

  /// One of count() tasks.
  ProductTask operator[](std::int64_t task) const {
    const std::int64_t row = task / groups() * tall_, channel = task % groups() * wide_, after = channel + wide_;
    return {row, std::min(tall_, rows_ - row), channel, std::min(wide_, channels_ - channel),
            after < channels_ ? after : -1};
  }

  std::int64_t count() const { return up(rows_, tall_) * groups(); }
  std::int64_t most_rows() const { return std::min(tall_, rows_); }

 private:
  static constexpr std::int64_t kRows = 32;       // that are multiplied together
  static constexpr std::int64_t kMostRows = 256;  // whose inputs and sums stay in the second-level cache
  static std::int64_t up(std::int64_t value, std::int64_t by) { return (value + by - 1) / by; }
  std::int64_t groups() const { return up(channels_, wide_); }

  std::int64_t rows_, channels_, tall_, wide_;
};

}  // namespace tessera
