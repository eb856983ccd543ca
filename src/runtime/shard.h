/// A part of work that can be cut into numbered items, for processes that do not talk with each other.
#pragma once

#include <cstdint>
#include <string>

namespace tessera {

struct Shard {
  std::int64_t index = 0, count = 1;
  static constexpr const char* kHelp =
      "I/N: part I (from 0) of N of what would be made, for N machines that need not know of each other; array: as the "
      "task of a Slurm array";

  bool is_whole() const { return count == 1; }
  /// Of items 0 to total - 1 those from begin() on, before end(). The shards of any N cover all, in order.
  std::int64_t begin(std::int64_t total) const { return total * index / count; }
  std::int64_t end(std::int64_t total) const { return total * (index + 1) / count; }
  /// Part `part` of `parts` of this shard.
  Shard part(std::int64_t index_of_part, std::int64_t parts) const {
    return {index * parts + index_of_part, count * parts};
  }
  std::string text() const { return std::to_string(index) + "/" + std::to_string(count); }
};

/// "2/8", or "array" in a task of a Slurm job array (SLURM_ARRAY_TASK_ID, _MIN, _COUNT). Throws UsageError.
Shard shard_from(const std::string& text);

}  // namespace tessera
