/// Samplers with an exact denoiser: what comes out is the distribution itself.
#include <gtest/gtest.h>

#include <cmath>
#include <utility>

#include "diffusion/likelihood.h"
#include "sampling/exact_tables.h"
#include "sampling/fill.h"
#include "sampling/registry.h"

namespace tessera {
namespace exact_sampling_test {

using testing::chi_square;
using testing::example_joint;
using testing::kTableCodes;
using testing::kTableGrid;
using testing::TableDenoiser;

constexpr double kQuantile999 = 124.8;  // chi-square, 80 degrees of freedom

TEST(ExactSampling, AncestralStepsOneCellAtATimeFollowTheJoint) {
  const auto joint = example_joint();
  TableDenoiser table(joint, false);
  FillOptions options;
  options.steps = 1024;
  options.seed = 1;
  const auto result = fill(TokenGrid::all_masked(2000, kTableGrid, kTableCodes), table, options);
  EXPECT_LT(chi_square(result.grid.flat(), joint), kQuantile999);
  EXPECT_LE(result.report.evaluations, 2000 * 4);
  EXPECT_EQ(result.report.evaluations, table.images);
}

TEST(ExactSampling, OneStepForAllCellsMissesTheJoint) {
  // The marginals alone: shows that the test above can tell.
  const auto joint = example_joint();
  TableDenoiser table(joint, false);
  FillOptions options;
  options.steps = 1;
  const auto result = fill(TokenGrid::all_masked(2000, kTableGrid, kTableCodes), table, options);
  EXPECT_GT(chi_square(result.grid.flat(), joint), 2 * kQuantile999);
  EXPECT_EQ(result.report.evaluations, 2000);
}

TEST(ExactSampling, MaskedOneCellAtATimeFollowsTheJointInEveryBlindOrder) {
  const auto joint = example_joint();
  for (const auto& order : orders().entries()) {
    if (order.sees != OrderEntry::Sees::nothing) continue;  // such an order prefers some outcomes, which is its point
    TableDenoiser table(joint, false);
    FillOptions options;
    options.sampler = "masked";
    options.own["order"] = order.name;
    options.steps = 4;
    options.seed = 3;
    const auto result = fill(TokenGrid::all_masked(2000, kTableGrid, kTableCodes), table, options);
    EXPECT_LT(chi_square(result.grid.flat(), joint), kQuantile999) << order.name;
    EXPECT_EQ(result.report.evaluations, 2000 * 4);
  }
}

TEST(ExactSampling, AutoregressiveDecodingFollowsTheJoint) {
  const auto joint = example_joint();
  TableDenoiser table(joint, true);
  FillOptions options;
  options.sampler = "autoregressive";
  options.seed = 2;
  const auto result = fill(TokenGrid::all_masked(2000, kTableGrid, kTableCodes), table, options);
  EXPECT_LT(chi_square(result.grid.flat(), joint), kQuantile999);
}

TEST(ExactSampling, PartlyMaskedGridsFollowTheConditional) {
  const auto joint = example_joint();
  TableDenoiser table(joint, false);
  auto codes = torch::full({3000, 2, 2}, kTableCodes, torch::kInt64);
  codes.select(1, 1).select(1, 0).fill_(2);
  FillOptions options;
  options.steps = 512;
  const auto filled = fill(TokenGrid(codes, kTableCodes), table, options).grid.flat();
  EXPECT_TRUE(filled.select(1, 2).eq(2).all().item<bool>());
  auto conditional = joint.select(2, 2).contiguous();
  conditional = conditional / conditional.sum();  // [3, 3, 3]
  const auto index = filled.select(1, 0) * 9 + filled.select(1, 1) * 3 + filled.select(1, 3);
  const auto counts = torch::bincount(index, {}, 27).to(torch::kFloat64);
  const auto expected = conditional.flatten() * 3000;
  EXPECT_LT(((counts - expected).square() / expected).sum().item<double>(), 54.05);  // 26 degrees, 0.999
}

TEST(ExactSampling, BoundAveragesToTheEntropyFromAboveAsStepsGrow) {
  // With the exact p(x0 | xt) the mean of the bound over the joint is at least its entropy; the excess is what a step
  // loses that reveals several cells at once, and goes as 1 / T.
  const auto joint = example_joint();
  TableDenoiser table(joint, false);
  const auto denoise = [&](const torch::Tensor& tokens, const torch::Tensor& rows) {
    return table.logits_at(tokens, rows);
  };
  const std::int64_t repeats = 6;
  const auto every =
      torch::stack(torch::meshgrid({torch::arange(3), torch::arange(3), torch::arange(3), torch::arange(3)}, "ij"), -1)
          .view({81, 4})
          .repeat({repeats, 1});
  const double entropy = -(joint * joint.log()).sum().item<double>();
  const auto mean_bound = [&](std::int64_t total) {
    const auto bound = elbo_terms(denoise, every, AbsorbingProcess(3, total), 4).sum(0).view({repeats, 81});
    const auto means = (bound * joint.flatten()).sum(1);
    return std::pair(means.mean().item<double>(), means.std().item<double>() / std::sqrt(static_cast<double>(repeats)));
  };
  const auto [few, few_error] = mean_bound(1);
  EXPECT_GT(few, entropy + 0.1 + 4 * few_error);
  const auto [many, many_error] = mean_bound(64);
  EXPECT_NEAR(many, entropy, 0.01 + 4 * many_error);
  EXPECT_LT(many, few);
}

}  // namespace exact_sampling_test
}  // namespace tessera
