#include "canvas/variations.h"

#include <gtest/gtest.h>

#include "canvas/fill_canvas.h"
#include "canvas/tiny_codec.h"
#include "runtime/error.h"
#include "sampling/exact_tables.h"

namespace tessera {
namespace variations_test {

using testing::example_joint;
using testing::kTableCodes;
using testing::TableDenoiser;

TEST(Variations, StrengthIsAShareOfTheCells) {
  EXPECT_EQ(cells_of_strength(0.5, 64), 32);
  EXPECT_EQ(cells_of_strength(1, 64), 64);
  EXPECT_EQ(cells_of_strength(0.001, 64), 1);
  for (const double wrong : {0.0, -0.5, 1.01, std::nan("")}) EXPECT_THROW(cells_of_strength(wrong, 64), UsageError);
}

TEST(Variations, RandomCellsAreEvenlyChosenAmongTheEligible) {
  auto eligible = torch::ones({4, 5}, torch::kBool);
  eligible[1].fill_(false);
  auto counts = torch::zeros({4, 5}, torch::kInt64);
  for (std::uint64_t image = 0; image < 600; ++image) {
    const auto cells = random_cells(eligible, 6, 3, image);
    EXPECT_EQ(cells.sum().item<std::int64_t>(), 6);
    counts += cells;
  }
  EXPECT_EQ(counts[1].sum().item<std::int64_t>(), 0);
  // 15 cells, each in 600 * 6 / 15 = 240 choices; standard deviation 12.
  EXPECT_LT((counts.masked_select(eligible) - 240).abs().max().item<std::int64_t>(), 4 * 12);
  EXPECT_TRUE(random_cells(eligible, 6, 3, 7).equal(random_cells(eligible, 6, 3, 7)));
  EXPECT_FALSE(random_cells(eligible, 6, 3, 7).equal(random_cells(eligible, 6, 4, 7)));
  EXPECT_THROW(random_cells(eligible, 16, 3, 7), Error);
}

TEST(Variations, TokensAreJudgedByTheirNeighbours) {
  // On a 2x2 grid the four looks mask one cell each: exact conditionals given the three others.
  TableDenoiser table(example_joint(), false);
  const auto codes = torch::tensor({2, 0, 1, 1}).view({2, 2});
  const auto found = token_log_probabilities(table, {2, 2}, {}, codes).flatten();
  for (std::int64_t cell = 0; cell < 4; ++cell) {
    const auto p = torch::log_softmax(table.conditional(codes.flatten(), cell), -1);
    EXPECT_NEAR(found[cell].item<double>(), p[codes.flatten()[cell].item<std::int64_t>()].item<double>(), 1e-5);
  }
}

TEST(Variations, TheLeastLikelyOfTheEligibleAreTaken) {
  const auto values = torch::tensor({-1.0, -5.0, -3.0, -3.0, -9.0, -2.0}).view({2, 3});
  auto eligible = torch::ones({2, 3}, torch::kBool);
  eligible[1][1] = false;
  const auto expected = torch::tensor({0, 1, 1, 0, 0, 0}).view({2, 3}).to(torch::kBool);
  EXPECT_TRUE(least_likely_cells(values, eligible, 2).equal(expected));
}

TEST(Variations, APlanTakesNewCellsAndKeepsTheOtherTokens) {
  auto codec = testing::tiny_codec();
  const auto image = testing::picture(16, 16);
  const auto plan = plan_inpaint(codec, image, PixelMask(16, 16).inverted());
  EXPECT_TRUE((plan.codes == 16).all().item<bool>());
  const auto cells = random_cells(plan.codes == 16, 10, 0, 0);
  const auto near = with_cells(plan, cells);
  EXPECT_TRUE((near.codes == 16).equal(cells));
  EXPECT_TRUE(torch::where(cells, near.codes, plan.original).equal(near.codes));
  EXPECT_THROW(with_cells(plan_generate(codec, 16, 16), cells), Error);
}

}  // namespace variations_test
}  // namespace tessera
