#include "tokens/windows.h"

#include <algorithm>

#include "runtime/error.h"

namespace tessera {

std::vector<std::int64_t> window_starts(std::int64_t length, std::int64_t window, std::int64_t stride,
                                        std::int64_t shift) {
  require(length >= 1 && window >= 1, "windows: length {} with windows of {} cells, expected at least 1", length,
          window);
  require(stride >= 1 && stride <= window, "windows: stride {}, expected 1 to {}, the side of a window", stride,
          window);
  require(shift >= 0 && shift < stride, "windows: shift {}, expected 0 to {}", shift, stride - 1);
  const auto last = std::max<std::int64_t>(0, length - window);
  std::vector<std::int64_t> starts = {0};
  for (auto at = stride - shift; at < last; at += stride) starts.push_back(at);
  if (last > 0) starts.push_back(last);
  return starts;
}

}  // namespace tessera
