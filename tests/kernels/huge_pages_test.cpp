#include "kernels/weights/huge_pages.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace tessera {
namespace large_pages_test {

TEST(LargePages, TensorsLieApartAndOutliveEachOther) {
  torch::manual_seed(1);
  const auto copy = [](const torch::Tensor& from) {
    auto to = empty_on_huge_pages(from.numel(), torch::kFloat);
    return to.copy_(from);
  };
  std::vector<torch::Tensor> from, to;
  for (const std::int64_t size : {1, 100'000, 3'000'000, 7, 9'000'000, 200'000}) {  // the fifth has pages of its own
    from.push_back(torch::randn({size}));
    to.push_back(copy(from.back()));
  }
  for (std::size_t i = 0; i < from.size(); ++i) {
    EXPECT_TRUE(to[i].equal(from[i])) << i;
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(to[i].data_ptr()) % 64, 0U);
  }
  to[1].fill_(0);
  for (std::size_t i = 0; i < from.size(); i += 2) to[i] = torch::Tensor();
  EXPECT_TRUE(to[3].equal(from[3]));
  EXPECT_TRUE(to[5].equal(from[5]));
  to.clear();
  EXPECT_TRUE(copy(from[1]).equal(from[1]));
}

TEST(LargePages, AreOfTheTypeAskedFor) {
  for (const auto type : {torch::kUInt8, torch::kBFloat16, torch::kFloat}) {
    const auto made = empty_on_huge_pages(70'000, type);
    EXPECT_EQ(made.scalar_type(), type);
    EXPECT_EQ(made.numel(), 70'000);
    EXPECT_TRUE(made.is_contiguous());
  }
}

}  // namespace large_pages_test
}  // namespace tessera
