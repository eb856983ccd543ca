#include "codec/nearest_grids.h"

#include <gtest/gtest.h>

#include <cmath>

#include "runtime/error.h"

namespace tessera {
namespace nearest_grids_test {

TEST(NearestGrids, AgreesWithPlainArithmeticInEveryOrder) {
  torch::manual_seed(5);
  const auto codebook = torch::randn({7, 4});
  const auto set = torch::randint(0, 7, {23, 3, 2}, torch::kInt16);
  const auto queries = torch::randint(0, 7, {20, 3, 2});  // more than are looked for at a time
  const auto found = nearest_grids(queries, set, codebook, 5);
  ASSERT_EQ(found.rows.sizes(), (std::vector<std::int64_t>{20, 5}));

  const auto rows = codebook.to(torch::kFloat64);
  double apart = 0;  // mean square distance of two rows drawn at random
  for (std::int64_t i = 0; i < 7; ++i) apart += (rows - rows[i]).square().sum(1).mean().item<double>() / 7;
  for (std::int64_t q = 0; q < 20; ++q) {
    std::vector<std::pair<double, std::int64_t>> all;
    for (std::int64_t n = 0; n < 23; ++n) {
      const auto a = rows.index_select(0, queries[q].flatten()),
                 b = rows.index_select(0, set[n].flatten().to(torch::kInt64));
      all.emplace_back(std::sqrt((a - b).square().sum(1).mean().item<double>() / apart), n);
    }
    std::sort(all.begin(), all.end());
    for (std::int64_t k = 0; k < 5; ++k) {
      EXPECT_EQ(found.rows[q][k].item<std::int64_t>(), all[static_cast<std::size_t>(k)].second) << q << " " << k;
      EXPECT_NEAR(found.distances[q][k].item<double>(), all[static_cast<std::size_t>(k)].first, 1e-5);
    }
  }
}

TEST(NearestGrids, FindsARepeatedGridAtDistanceZeroAndTheLowerRowOfTwo) {
  torch::manual_seed(6);
  const auto set = torch::randint(0, 5, {5000, 2, 2});  // more than one stretch of the set
  const auto found = nearest_grids(set.slice(0, 4990), set, torch::randn({5, 3}), 1);
  EXPECT_EQ(found.distances.abs().max().item<float>(), 0.0F);
  for (std::int64_t i = 0; i < 10; ++i) {
    const auto row = found.rows[i][0].item<std::int64_t>();
    const auto same = set.eq(set[4990 + i]).flatten(1).all(1).nonzero();
    EXPECT_EQ(row, same[0][0].item<std::int64_t>());
  }
}

TEST(NearestGrids, RandomGridsLieAboutOneApart) {
  torch::manual_seed(7);
  const auto found =
      nearest_grids(torch::randint(0, 64, {8, 16, 16}), torch::randint(0, 64, {1, 16, 16}), torch::randn({64, 8}), 3);
  ASSERT_EQ(found.rows.size(1), 1);  // the set holds no more
  EXPECT_NEAR(found.distances.mean().item<double>(), 1, 0.05);
}

TEST(NearestGrids, RejectsOtherGridsMasksAndEmptySets) {
  const auto codebook = torch::randn({4, 2});
  const auto grids = torch::zeros({1, 2, 2}, torch::kInt64);
  EXPECT_THROW(nearest_grids(grids, torch::zeros({0, 2, 2}, torch::kInt64), codebook, 1), Error);
  EXPECT_THROW(nearest_grids(grids, torch::zeros({3, 2, 3}, torch::kInt64), codebook, 1), Error);
  EXPECT_THROW(nearest_grids(grids + 4, grids, codebook, 1), Error);  // MASK
  EXPECT_THROW(nearest_grids(grids, grids - 1, codebook, 1), Error);
  EXPECT_THROW(nearest_grids(grids.to(torch::kFloat32), grids, codebook, 1), Error);
  EXPECT_THROW(nearest_grids(grids, grids, codebook, 0), Error);
}

TEST(NearestGrids, EqualCellsAreCounted) {
  const auto a = torch::tensor({1, 2, 3, 4}).view({1, 2, 2}), b = torch::tensor({1, 2, 0, 4}).view({1, 2, 2});
  EXPECT_EQ(equal_cells(a, b).item<float>(), 0.75F);
}

}  // namespace nearest_grids_test
}  // namespace tessera
