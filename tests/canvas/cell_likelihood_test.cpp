#include "canvas/cell_likelihood.h"

#include <gtest/gtest.h>

#include "canvas/variations.h"
#include "runtime/error.h"
#include "sampling/exact_tables.h"

namespace tessera {
namespace cell_likelihood_test {

using testing::example_joint;
using testing::kTableCodes;
using testing::TableDenoiser;

double exact(const TableDenoiser& table, const torch::Tensor& flat, std::int64_t cell) {
  return torch::log_softmax(table.conditional(flat, cell), -1)[flat[cell].item<std::int64_t>()].item<double>();
}

TEST(CellLikelihood, EachCellIsJudgedGivenAllOthers) {
  TableDenoiser table(example_joint(), false);
  const auto codes = torch::tensor({2, 0, 1, 1, 0, 0, 2, 1, 1, 1, 1, 2}).view({3, 2, 2});
  for (const std::int64_t per_call : {1, 5, 16}) {
    CellLikelihoodOptions options;
    options.per_call = per_call;
    const auto found = cell_likelihood(table, {2, 2}, codes, nullptr, options);
    EXPECT_EQ(found.evaluations, 12);
    for (std::int64_t n = 0; n < 3; ++n) {
      for (std::int64_t cell = 0; cell < 4; ++cell) {
        EXPECT_NEAR(found.log_probabilities.view({3, 4})[n][cell].item<double>(),
                    exact(table, codes[n].flatten(), cell), 1e-5)
            << n << ", " << cell;
      }
    }
  }
}

TEST(CellLikelihood, SpacedLooksAreThoseOfVariations) {
  TableDenoiser table(example_joint(), false);
  const auto codes = torch::tensor({2, 0, 1, 1}).view({1, 2, 2});
  CellLikelihoodOptions options;
  options.spacing = 2;
  const auto found = cell_likelihood(table, {2, 2}, codes, nullptr, options);
  EXPECT_EQ(found.evaluations, 4);
  EXPECT_TRUE(
      torch::allclose(found.log_probabilities[0], token_log_probabilities(table, {2, 2}, {}, codes[0]), 0, 1e-5));
  options.spacing = 1;  // all at once: nothing is known of the others
  const auto alone = cell_likelihood(table, {2, 2}, codes, nullptr, options);
  EXPECT_EQ(alone.evaluations, 1);
  EXPECT_FALSE(alone.log_probabilities.allclose(found.log_probabilities));
}

TEST(CellLikelihood, OpenCellsStayHiddenAndHaveNoValue) {
  TableDenoiser table(example_joint(), false);
  const auto codes =
      torch::tensor({std::int64_t{2}, std::int64_t{kTableCodes}, std::int64_t{1}, std::int64_t{1}}).view({1, 2, 2});
  const auto found = cell_likelihood(table, {2, 2}, codes, nullptr, {}).log_probabilities.flatten();
  EXPECT_EQ(found[1].item<double>(), 0);
  for (const std::int64_t cell : {0, 2, 3}) {
    auto seen = codes.flatten().clone();
    seen[cell] = kTableCodes;
    EXPECT_NEAR(found[cell].item<double>(),
                torch::log_softmax(table.conditional(seen, cell), -1)[codes.flatten()[cell].item<std::int64_t>()]
                    .item<double>(),
                1e-5);
  }
}

TEST(CellLikelihood, AnAutoregressiveModelsSumIsTheLikelihoodOfTheGrid) {
  const auto joint = example_joint();
  TableDenoiser table(joint, true);
  const auto codes = torch::tensor({2, 0, 1, 1, 0, 2, 2, 1}).view({2, 2, 2});
  const auto found = cell_likelihood(table, {2, 2}, codes, nullptr, {}).log_probabilities.flatten(1).sum(1);
  for (std::int64_t n = 0; n < 2; ++n) {
    auto mass = joint / joint.sum();
    for (std::int64_t cell = 0; cell < 4; ++cell) mass = mass[codes[n].flatten()[cell].item<std::int64_t>()];
    EXPECT_NEAR(found[n].item<double>(), std::log(mass.item<double>()), 1e-5);
  }
  EXPECT_THROW(cell_likelihood(table, {2, 2}, torch::zeros({1, 2, 3}, torch::kInt64), nullptr, {}), UsageError);
  EXPECT_THROW(cell_likelihood(table, {2, 2}, torch::full({1, 2, 2}, kTableCodes), nullptr, {}), UsageError);
}

TEST(CellLikelihood, ItCanBeGivenUpBetweenCalls) {
  TableDenoiser table(example_joint(), false);
  CellLikelihoodOptions options;
  options.per_call = 1;
  int calls = 0;
  options.before_call = [&] { require(++calls < 3, "enough"); };
  EXPECT_THROW(cell_likelihood(table, {2, 2}, torch::zeros({1, 2, 2}, torch::kInt64), nullptr, options), Error);
  EXPECT_EQ(calls, 3);
}

}  // namespace cell_likelihood_test
}  // namespace tessera
