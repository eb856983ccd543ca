/// How far apart the rows lie that a product reads.
#pragma once

#include <cstdint>

namespace tessera {

/// Bytes between rows of `bytes` bytes: an odd number of cache lines. Rows a power of two apart would share a few sets
/// of the first-level cache (a fifth of a product's time).
inline std::int64_t leading_dimension(std::int64_t bytes) {
  constexpr std::int64_t kLine = 64;
  return ((bytes + kLine - 1) / kLine | 1) * kLine;
}

/// The same in elements, for rows of `count` of them.
template <typename Element>
std::int64_t elements_apart(std::int64_t count) {
  constexpr auto kBytes = static_cast<std::int64_t>(sizeof(Element));
  return leading_dimension(count * kBytes) / kBytes;
}

}  // namespace tessera
