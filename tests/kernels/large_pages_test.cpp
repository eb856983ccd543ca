#include "kernels/large_pages.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace tessera {
namespace large_pages_test {

TEST(LargePages, TensorsAreCopiedApartAndOutliveEachOther) {
  torch::manual_seed(1);
  std::vector<torch::Tensor> from, to;
  for (const std::int64_t size : {1, 100'000, 3'000'000, 7, 9'000'000, 200'000}) {  // the fifth has pages of its own
    from.push_back(torch::randn({size}));
    to.push_back(on_large_pages(from.back()));
  }
  for (std::size_t i = 0; i < from.size(); ++i) {
    EXPECT_TRUE(to[i].equal(from[i])) << i;
    EXPECT_NE(to[i].data_ptr(), from[i].data_ptr());
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(to[i].data_ptr()) % 64, 0U);
  }
  to[1].fill_(0);
  for (std::size_t i = 0; i < from.size(); i += 2) to[i] = torch::Tensor();
  EXPECT_TRUE(to[3].equal(from[3]));
  EXPECT_TRUE(to[5].equal(from[5]));
  to.clear();
  EXPECT_TRUE(on_large_pages(from[1]).equal(from[1]));
}

TEST(LargePages, TypesAndShapesStay) {
  const auto bytes = torch::arange(70'000, torch::kUInt8).view({7, 10'000});
  const auto copy = on_large_pages(bytes);
  EXPECT_EQ(copy.scalar_type(), torch::kUInt8);
  EXPECT_TRUE(copy.equal(bytes));
}

}  // namespace large_pages_test
}  // namespace tessera
