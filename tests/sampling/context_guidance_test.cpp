/// Guidance towards what the known cells say, on an exact denoiser.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "denoiser/context_guidance.h"
#include "runtime/error.h"
#include "sampling/exact_tables.h"
#include "sampling/fill.h"

namespace tessera {
namespace context_guidance_test {

using testing::example_joint;
using testing::kTableCodes;
using testing::kTableGrid;
using testing::TableDenoiser;

/// p^scale / u^(scale - 1) over codes of at least e^-6 of the greatest p, normalised; in float64.
std::vector<double> expected_distribution(const torch::Tensor& log_p, const torch::Tensor& log_u, double scale) {
  const auto p = torch::log_softmax(log_p.to(torch::kFloat64), 0), u = torch::log_softmax(log_u.to(torch::kFloat64), 0);
  std::vector<double> mass(kTableCodes);
  double sum = 0;
  for (std::int64_t code = 0; code < kTableCodes; ++code) {
    const double at = p[code].item<double>();
    if (at < p.max().item<double>() - 6) continue;
    sum += mass[static_cast<std::size_t>(code)] = std::exp(scale * at - (scale - 1) * u[code].item<double>());
  }
  for (auto& each : mass) each /= sum;
  return mass;
}

torch::Tensor all_masked() {
  return torch::full({4}, kTableCodes, torch::kInt64);
}

TEST(ContextGuidance, DividesByWhatAnEmptyGridSaysOfTheSameCell) {
  TableDenoiser table(example_joint(), false), other(example_joint(), false);
  auto tokens = all_masked().repeat({2, 1});
  tokens[0][0] = 1;
  tokens[1][3] = 2;
  const auto rows = torch::tensor({1, 3, 4, 6}, torch::kInt64);
  for (const double scale : {0.0, 0.5, 2.0, 5.0}) {
    ContextGuidance guided(table, scale, 0);
    const auto logits = testing::logits_of(guided, tokens, rows);
    for (std::int64_t i = 0; i < rows.size(0); ++i) {
      const auto row = rows[i].item<std::int64_t>();
      const auto expected = expected_distribution(other.conditional(tokens[row / 4], row % 4),
                                                  other.conditional(all_masked(), row % 4), scale);
      for (std::int64_t code = 0; code < kTableCodes; ++code) {
        EXPECT_NEAR(logits[i][code].exp().item<double>(), expected[static_cast<std::size_t>(code)], 1e-5)
            << "scale " << scale << " row " << row << " code " << code;
      }
    }
  }
}

TEST(ContextGuidance, CodesThatTheDenoiserRulesOutStayOut) {
  // Cells 0 and 1 agree but for one case in 10,000; code 2 is rare in cell 1: u alone would make it likely.
  auto joint = torch::full({3, 3, 3, 3}, 1e-12, torch::kFloat64);
  joint[0][0][0][0] = 0.5;
  joint[1][1][0][0] = 0.4999;
  joint[0][2][0][0] = 1e-4;
  TableDenoiser table(joint / joint.sum(), false);
  ContextGuidance guided(table, 3, 0);
  auto tokens = all_masked();
  tokens[0] = 0;
  const auto log_p = testing::logits_of(guided, tokens.unsqueeze(0), torch::tensor({1}, torch::kInt64))[0];
  EXPECT_NEAR(log_p[0].exp().item<double>(), 1, 1e-6);
  EXPECT_LT(log_p[2].item<double>(), -60);
}

TEST(ContextGuidance, FillsDrawFromTheGuidedDistributionForOneMoreEvaluation) {
  TableDenoiser table(example_joint(), false);
  constexpr std::int64_t kCount = 4000;
  auto codes = torch::full({kCount, 2, 2}, kTableCodes, torch::kInt64);
  codes.select(1, 0).select(1, 0).fill_(1);
  codes.select(1, 1).fill_(1);  // one cell is open: (0, 1)
  FillOptions options;
  options.sampler = "raster";
  options.steps = 4;
  options.seed = 5;
  options.context_guidance = 2;
  const auto result = fill(TokenGrid(codes, kTableCodes), table, options);
  auto tokens = torch::full({4}, 1, torch::kInt64);
  tokens[1] = kTableCodes;
  const auto expected = expected_distribution(table.conditional(tokens, 1), table.conditional(all_masked(), 1), 2);
  const auto plain = table.conditional(tokens, 1).softmax(0);
  const auto drawn = result.grid.codes().select(1, 0).select(1, 1);
  for (std::int64_t code = 0; code < kTableCodes; ++code) {
    const double share = drawn.eq(code).to(torch::kFloat64).mean().item<double>();
    const double p = expected[static_cast<std::size_t>(code)];
    EXPECT_NEAR(share, p, 4 * std::sqrt(p * (1 - p) / kCount)) << code;
  }
  EXPECT_GT(std::abs(plain[1].item<double>() - expected[1]), 0.05);  // the test can tell them apart
  EXPECT_EQ(table.images, kCount + 1);
}

/// Notes the times that it is given.
class TimedTable : public TableDenoiser {
 public:
  TimedTable() : TableDenoiser(example_joint(), false) {}
  bool sees_time() const override { return true; }
  torch::Tensor look_at(const Look& look) override {
    seen.push_back(look.times[0].item<std::int64_t>());
    return TableDenoiser::look_at(look);
  }
  std::vector<std::int64_t> seen;
};

TEST(ContextGuidance, AnEmptyGridIsSeenAtTheEndOfTheProcess) {
  TimedTable table;
  ContextGuidance guided(table, 2, 100);
  const auto evaluator = guided.begin();
  for (int call = 0; call < 2; ++call)
    evaluator->logits({all_masked().unsqueeze(0), torch::tensor({0}, torch::kInt64), torch::tensor({40})});
  EXPECT_EQ(table.seen, (std::vector<std::int64_t>{40, 100, 40}));
}

TEST(ContextGuidance, IsRefusedWhereThereIsNoMask) {
  TableDenoiser table(example_joint(), true);
  FillOptions options;
  options.sampler = "autoregressive";
  options.context_guidance = 2;
  try {
    fill(TokenGrid::all_masked(1, kTableGrid, kTableCodes), table, options);
    ADD_FAILURE() << "accepted";
  } catch (const UsageError& error) {
    EXPECT_STREQ(error.what(), "context_guidance is 2 with an autoregressive denoiser, expected 1");
  }
}

}  // namespace context_guidance_test
}  // namespace tessera
