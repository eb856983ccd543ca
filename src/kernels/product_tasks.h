/// How a matrix product is cut into tasks for at::parallel_for.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdint>

namespace tessera {

/// Blocks of rows and, where these are fewer than the threads, groups of output channels as well. An element of the
/// result is computed alike in whichever task it falls.
class ProductTasks {
 public:
  /// panel: output channels whose weights lie together.
  ProductTasks(std::int64_t rows, std::int64_t channels, std::int64_t panel) : rows_(rows), channels_(channels) {
    const std::int64_t threads = std::max(1, at::get_num_threads());
    tall_ = std::clamp<std::int64_t>(up(up(rows, threads), kLeastRows) * kLeastRows, kLeastRows, kMostRows);
    const std::int64_t panels = up(channels, panel);
    const std::int64_t groups =
        std::clamp<std::int64_t>(up(threads, row_blocks()), 1, std::max<std::int64_t>(1, panels));
    wide_ = std::max<std::int64_t>(1, up(panels, groups)) * panel;
  }

  /// body(first row, rows, first channel, channels) for the tasks of a range.
  template <typename Body>
  void in_range(std::int64_t begin, std::int64_t end, const Body& body) const {
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t row = task / groups() * tall_, channel = task % groups() * wide_;
      body(row, std::min(tall_, rows_ - row), channel, std::min(wide_, channels_ - channel));
    }
  }

  std::int64_t count() const { return row_blocks() * groups(); }
  std::int64_t most_rows() const { return std::min(tall_, rows_); }

 private:
  static constexpr std::int64_t kLeastRows = 32, kMostRows = 256;
  static std::int64_t up(std::int64_t value, std::int64_t by) { return (value + by - 1) / by; }
  std::int64_t row_blocks() const { return up(rows_, tall_); }
  std::int64_t groups() const { return up(channels_, wide_); }

  std::int64_t rows_, channels_, tall_, wide_;
};

}  // namespace tessera
