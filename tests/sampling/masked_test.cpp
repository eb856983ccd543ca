/// Orders and unmasking schedules of the masked sampler.
#include "sampling/masked.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "runtime/error.h"
#include "sampling/exact_tables.h"

namespace tessera::testing {
namespace masked_test {

std::vector<double> scores_of(const char* order, const std::vector<std::int64_t>& cells, Extent extent,
                              const TokenDraw* draws = nullptr, const float* logits = nullptr, std::int64_t codes = 0) {
  return orders().at(order).score({extent, cells, draws, logits, codes, RandomStream(1, Purpose::select_cells, 0, 0)});
}

std::vector<std::int64_t> plan_of(const char* schedule, std::int64_t open, std::int64_t steps,
                                  const std::vector<double>& table = {}) {
  return unmasking_schedules().at(schedule).plan({open, open, steps, &table});
}

TEST(UnmaskingSchedules, EachEndsAtNothingOpenInAtMostTheStepsAndNeverGrows) {
  const std::vector<double> table = {5, 4, 3, 2, 1};
  for (const auto& name : unmasking_schedules().names()) {
    for (const std::int64_t open : {1, 2, 7, 64, 700}) {
      for (const std::int64_t steps : {1, 2, 5, 16, 1000}) {
        const auto plan = plan_of(name.c_str(), open, steps, table);
        ASSERT_FALSE(plan.empty());
        EXPECT_LE(static_cast<std::int64_t>(plan.size()), steps) << name;
        EXPECT_EQ(plan.back(), 0) << name;
        auto before = open;
        for (const auto left : plan) {
          EXPECT_LE(left, before) << name << " " << open << " " << steps;
          before = left;
        }
      }
    }
  }
}

TEST(UnmaskingSchedules, CosineOpensFewAtFirstAndArccosManyAtLast) {
  const auto cosine = plan_of("cosine", 1000, 10), arccos = plan_of("arccos", 1000, 10);
  const auto linear = plan_of("linear", 1000, 10);
  EXPECT_EQ(linear, (std::vector<std::int64_t>{900, 800, 700, 600, 500, 400, 300, 200, 100, 0}));
  EXPECT_EQ(cosine[4], static_cast<std::int64_t>(std::floor(1000 * std::cos(std::acos(-1.0) / 4))));
  EXPECT_LT(1000 - cosine[0], 20);
  EXPECT_EQ(arccos[4], static_cast<std::int64_t>(std::floor(1000 * std::acos(0.5) * 2 / std::acos(-1.0))));
  EXPECT_GT(arccos[8], 200);
}

/// The cost of a plan: cells opened at once, each at the cross-entropy of what was known before.
double cost_of(const std::vector<std::int64_t>& plan, std::int64_t open, const std::vector<double>& loss) {
  double cost = 0;
  auto before = open;
  for (const auto left : plan) {
    cost += static_cast<double>(before - left) * loss[static_cast<std::size_t>(open - before)];
    before = left;
  }
  return cost;
}

TEST(UnmaskingSchedules, DpIsTheCheapestPlanOfAll) {
  const std::vector<double> loss = {6, 3.5, 3, 2.9, 1.2, 1.1, 1, 0.3};
  for (std::int64_t steps = 1; steps <= 8; ++steps) {
    const auto best = cost_of(plan_of("dp", 8, steps, loss), 8, loss);
    // Every plan: which of the first seven cells end a step.
    for (unsigned ends = 0; ends < 128; ++ends) {
      if (__builtin_popcount(ends) != steps - 1) continue;
      std::vector<std::int64_t> plan;
      for (std::int64_t cell = 0; cell < 7; ++cell) {
        if (ends >> cell & 1U) plan.push_back(8 - (cell + 1));
      }
      plan.push_back(0);
      EXPECT_LE(best, cost_of(plan, 8, loss) + 1e-9) << steps;
    }
  }
  EXPECT_THROW(plan_of("dp", 8, 4), UsageError);
}

TEST(Orders, HaltonSpreadsEveryFirstPartOverTheGrid) {
  const Extent extent{16, 16};
  std::vector<std::int64_t> cells(256);
  for (std::int64_t cell = 0; cell < 256; ++cell) cells[static_cast<std::size_t>(cell)] = cell;
  const auto scores = scores_of("halton", cells, extent);
  EXPECT_EQ(std::set<double>(scores.begin(), scores.end()).size(), 256U);
  // Of the first 16 cells each quarter has about four; rows alone would put all of them into one.
  std::array<int, 4> quarters{};
  for (std::int64_t cell = 0; cell < 256; ++cell) {
    if (scores[static_cast<std::size_t>(cell)] > -16) {
      ++quarters[static_cast<std::size_t>(cell / 16 / 8 * 2 + cell % 16 / 8)];
    }
  }
  for (const int count : quarters) {
    EXPECT_GE(count, 3);
    EXPECT_LE(count, 5);
  }
}

TEST(Orders, MarginAndEntropyAreTheFormulas) {
  const std::vector<float> logits = {std::log(0.7F), std::log(0.2F),  std::log(0.1F),    // margin 0.5
                                     std::log(0.5F), std::log(0.49F), std::log(0.01F)};  // margin 0.01
  const std::vector<std::int64_t> cells = {0, 1};
  const auto margins = scores_of("margin", cells, {1, 2}, nullptr, logits.data(), 3);
  EXPECT_NEAR(std::exp(margins[0]), 0.5, 1e-6);
  EXPECT_NEAR(std::exp(margins[1]), 0.01, 1e-6);
  const auto entropies = scores_of("entropy", cells, {1, 2}, nullptr, logits.data(), 3);
  EXPECT_NEAR(-entropies[0], -(0.7 * std::log(0.7) + 0.2 * std::log(0.2) + 0.1 * std::log(0.1)), 1e-6);
  EXPECT_NEAR(-entropies[1], -(0.5 * std::log(0.5) + 0.49 * std::log(0.49) + 0.01 * std::log(0.01)), 1e-6);
}

TEST(Orders, RandomIsAPermutationOfItsOwnForEachImage) {
  const std::vector<std::int64_t> cells = {0, 1, 2, 3, 4, 5, 6, 7};
  const auto one =
      orders().at("random").score({{2, 4}, cells, nullptr, nullptr, 0, RandomStream(1, Purpose::select_cells, 0, 0)});
  const auto other =
      orders().at("random").score({{2, 4}, cells, nullptr, nullptr, 0, RandomStream(1, Purpose::select_cells, 1, 0)});
  EXPECT_NE(one, other);
}

}  // namespace masked_test
}  // namespace tessera::testing
