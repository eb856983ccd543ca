/// Windows of one size laid over a larger grid so that every cell is covered.
#pragma once

#include <cstdint>
#include <vector>

#include "tokens/token_grid.h"

namespace tessera {

/// Where windows begin along one axis. In: length of the axis, window and stride in cells, shift in [0, stride).
/// Out: ascending starts: 0, stride - shift, 2 stride - shift, ..., the last flush with the far border, so that with
/// stride <= window no cell is left uncovered. A window as long as the axis or longer has the one start 0.
/// Throws Error unless length, window >= 1 and 1 <= stride <= window.
std::vector<std::int64_t> window_starts(std::int64_t length, std::int64_t window, std::int64_t stride,
                                        std::int64_t shift = 0);

/// The windows of one size at every pair of starts. Their index is row * lefts.size() + column.
struct WindowLattice {
  Extent window;                    // cells
  std::vector<std::int64_t> tops;   // ascending, in cells
  std::vector<std::int64_t> lefts;  // ascending, in cells

  std::int64_t count() const { return static_cast<std::int64_t>(tops.size() * lefts.size()); }
};

}  // namespace tessera
