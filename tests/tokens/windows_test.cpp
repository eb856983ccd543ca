#include "tokens/windows.h"

#include <gtest/gtest.h>

#include "runtime/error.h"

namespace tessera {
namespace windows_test {

using Starts = std::vector<std::int64_t>;

TEST(WindowStarts, TheLastWindowLiesFlushWithTheBorder) {
  EXPECT_EQ(window_starts(16, 16, 8), (Starts{0}));
  EXPECT_EQ(window_starts(9, 16, 8), (Starts{0}));
  EXPECT_EQ(window_starts(32, 16, 8), (Starts{0, 8, 16}));
  EXPECT_EQ(window_starts(7, 6, 2), (Starts{0, 1}));
  EXPECT_EQ(window_starts(21, 6, 4), (Starts{0, 4, 8, 12, 15}));
  EXPECT_EQ(window_starts(21, 6, 4, 3), (Starts{0, 1, 5, 9, 13, 15}));
}

TEST(WindowStarts, CoverEveryCellWhateverTheStrideAndShift) {
  for (std::int64_t length = 1; length < 24; ++length) {
    for (std::int64_t window = 1; window < 9; ++window) {
      for (std::int64_t stride = 1; stride <= window; ++stride) {
        for (std::int64_t shift = 0; shift < stride; ++shift) {
          const auto starts = window_starts(length, window, stride, shift);
          std::int64_t covered = 0;
          for (const auto start : starts) {
            EXPECT_LE(start, covered);
            EXPECT_TRUE(start + window <= length || starts.size() == 1);
            covered = start + window;
          }
          EXPECT_GE(covered, length) << length << " " << window << " " << stride << " " << shift;
        }
      }
    }
  }
}

TEST(WindowStarts, RefuseAStrideThatLeavesGaps) {
  EXPECT_THROW(window_starts(20, 4, 5), Error);
  EXPECT_THROW(window_starts(20, 4, 0), Error);
  EXPECT_THROW(window_starts(20, 4, 2, 2), Error);
  EXPECT_THROW(window_starts(0, 4, 2), Error);
}

}  // namespace windows_test
}  // namespace tessera
