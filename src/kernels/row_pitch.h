/// How far apart the rows lie that a product reads.
#pragma once

#include <cstdint>

namespace tessera {

/// Bytes between rows of `bytes` bytes: an odd number of cache lines. Rows a power of two apart would share a few sets
/// of the first-level cache (a fifth of a product's time).
inline std::int64_t row_pitch(std::int64_t bytes) {
  constexpr std::int64_t kLine = 64;
  return ((bytes + kLine - 1) / kLine | 1) * kLine;
}

}  // namespace tessera
