#include "distributed/tree_sum.h"

#include <gtest/gtest.h>

namespace tessera {
namespace tree_sum_test {

torch::Tensor value_of(std::int64_t leaf) {
  return torch::rand({7}, at::detail::createCPUGenerator(static_cast<std::uint64_t>(leaf))) * 1e3 - 500;
}

std::vector<torch::Tensor> sum_of(const LeafRange& run, std::int64_t leaves, torch::ScalarType type = torch::kFloat32) {
  NodeSums sums(leaves);
  for (auto leaf = run.begin; leaf < run.end; ++leaf) sums.add(leaf, value_of(leaf).to(type));
  return sums.sums();
}

TEST(TreeSum, HasTheSameBitsWhateverTheRanks) {
  for (const std::int64_t leaves : {1, 2, 3, 5, 8, 12, 16}) {
    const auto whole = sum_of({0, leaves}, leaves).front();
    for (int ranks = 1; ranks <= leaves; ++ranks) {
      std::vector<LeafRange> nodes;
      std::vector<torch::Tensor> sums;
      std::int64_t asked = 0;
      for (int rank = 0; rank < ranks; ++rank) {
        const auto own = leaves_of(leaves, rank, ranks);
        EXPECT_EQ(own.begin, asked);
        asked = own.end;
        const auto of_rank = whole_nodes(leaves, own);
        const auto its = sum_of(own, leaves);
        ASSERT_EQ(its.size(), of_rank.size());
        nodes.insert(nodes.end(), of_rank.begin(), of_rank.end());
        sums.insert(sums.end(), its.begin(), its.end());
      }
      EXPECT_EQ(asked, leaves);
      EXPECT_TRUE(torch::equal(sum_of_nodes(leaves, nodes, sums), whole)) << leaves << " leaves, " << ranks << " ranks";
    }
  }
}

TEST(TreeSum, IsThatOfTheTreeWrittenOut) {
  const auto v = value_of;
  EXPECT_TRUE(torch::equal(sum_of({0, 5}, 5).front(), (v(0) + v(1)) + (v(2) + (v(3) + v(4)))));
  const auto of_rank = sum_of({1, 5}, 8);  // leaf 1, leaves 2 and 3, leaf 4
  ASSERT_EQ(of_rank.size(), 3U);
  EXPECT_TRUE(torch::equal(of_rank[1], v(2) + v(3)));
}

TEST(TreeSum, OfBfloat16IsRoundedAtEveryNode) {
  const auto rounded = [](const torch::Tensor& tensor) { return tensor.to(torch::kBFloat16).to(torch::kFloat32); };
  const auto v = [&](std::int64_t leaf) { return rounded(value_of(leaf)); };
  const auto whole = sum_of({0, 4}, 4, torch::kBFloat16).front();
  EXPECT_EQ(whole.scalar_type(), torch::kBFloat16);
  EXPECT_TRUE(torch::equal(whole.to(torch::kFloat32), rounded(rounded(v(0) + v(1)) + rounded(v(2) + v(3)))));
}

TEST(TreeSum, OneTensorARankTravelsWhereBothArePowersOfTwo) {
  for (int rank = 0; rank < 4; ++rank) EXPECT_EQ(whole_nodes(16, leaves_of(16, rank, 4)).size(), 1U);
}

}  // namespace tree_sum_test
}  // namespace tessera
