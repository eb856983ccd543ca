/// Fills with an exact denoiser, whole, in part and through windows: what comes out is the distribution that summation
/// gives, whatever the sampler that claims to be exact.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include "canvas/fill_canvas.h"
#include "sampling/exact_tables.h"

namespace tessera {
namespace exact_fill_test {

using testing::example_joint;
using testing::kTableCodes;
using testing::kTableGrid;
using testing::TableDenoiser;

using Cells = std::vector<std::int64_t>;
using Conditional = std::function<std::vector<double>(const Cells& grid, std::size_t cell)>;

/// The table's conditionals, each computed once: 256 grids of 2x2 with MASK, four cells.
class CachedTable : public testing::PlainDenoiser {
 public:
  CachedTable() : logits_(torch::empty({256, 4, 3})) {
    const TableDenoiser table(example_joint(), false);
    for (std::int64_t context = 0; context < 256; ++context) {
      const auto tokens = torch::tensor({context / 64, context / 16 % 4, context / 4 % 4, context % 4});
      for (std::int64_t cell = 0; cell < 4; ++cell) logits_[context][cell] = table.conditional(tokens, cell);
    }
    probabilities_ = torch::softmax(logits_.to(torch::kFloat64), -1).contiguous();
  }
  std::int64_t codebook_size() const override { return kTableCodes; }
  torch::Tensor look_at(const Look& look) override {
    const auto& rows = look.rows;
    const auto context = (look.tokens * torch::tensor({64, 16, 4, 1})).sum(1);
    return logits_.flatten(0, 1).index_select(0, context.index_select(0, rows.div(4, "floor")) * 4 + rows % 4);
  }
  std::vector<double> conditional(const Cells& four, std::size_t cell) const {
    const auto context = ((four[0] * 4 + four[1]) * 4 + four[2]) * 4 + four[3];
    const auto* p = probabilities_.data_ptr<double>() + (context * 4 + static_cast<std::int64_t>(cell)) * 3;
    return {p[0], p[1], p[2]};
  }

 private:
  torch::Tensor logits_;         // [contexts, cells, codes]
  torch::Tensor probabilities_;  // the same, float64
};

/// The distribution over full grids of filling `start` one cell at a time, in raster order or in one drawn evenly.
std::map<Cells, double> exact_fill(const Cells& start, const Conditional& conditional, bool raster) {
  std::map<Cells, double> now = {{start, 1.0}};
  for (auto left = std::count(start.begin(), start.end(), kTableCodes); left > 0; --left) {
    std::map<Cells, double> next;
    for (const auto& [grid, mass] : now) {
      for (std::size_t cell = 0; cell < grid.size(); ++cell) {
        if (grid[cell] != kTableCodes) continue;
        const auto p = conditional(grid, cell);
        for (std::int64_t code = 0; code < kTableCodes; ++code) {
          auto filled = grid;
          filled[cell] = code;
          next[filled] += mass * p[static_cast<std::size_t>(code)] / (raster ? 1 : static_cast<double>(left));
        }
        if (raster) break;
      }
    }
    now = std::move(next);
  }
  return now;
}

/// 0.999 quantile of chi-square (Wilson and Hilferty, 1931).
double quantile999(double degrees) {
  const double spread = 2 / (9 * degrees);
  return degrees * std::pow(1 - spread + 3.0902 * std::sqrt(spread), 3);
}

/// Pearson's statistic over its 0.999 quantile, of the cells `looked_at` of samples [N, L]: below 1 in 999 of 1000
/// cases.
double chi_square_ratio(const torch::Tensor& samples, const std::map<Cells, double>& exact, const Cells& looked_at) {
  std::map<Cells, double> expected, counted;
  const auto count = static_cast<double>(samples.size(0));
  for (const auto& [grid, mass] : exact) {
    Cells part;
    for (const auto cell : looked_at) part.push_back(grid[static_cast<std::size_t>(cell)]);
    expected[part] += mass * count;
  }
  const auto flat = samples.contiguous();
  for (std::int64_t n = 0; n < flat.size(0); ++n) {
    Cells part;
    for (const auto cell : looked_at) part.push_back(flat.data_ptr<std::int64_t>()[n * flat.size(1) + cell]);
    counted[part] += 1;
  }
  double statistic = 0;
  for (const auto& [part, mean] : expected) {
    EXPECT_GT(mean, 3) << "too few samples for the test";
    statistic += (counted[part] - mean) * (counted[part] - mean) / mean;
    counted.erase(part);
  }
  EXPECT_TRUE(counted.empty()) << "samples that the distribution excludes";
  return statistic / quantile999(static_cast<double>(expected.size()) - 1);
}

FillOptions exact_options(const std::string& sampler) {
  FillOptions options;
  options.sampler = sampler;
  options.steps = sampler == "raster" ? 64 : 600;  // so many that two cells seldom change at once
  options.seed = 5;
  return options;
}

TokenGrid repeated(const Cells& grid, Extent extent, std::int64_t count) {
  return {torch::tensor(grid).view({1, extent.h, extent.w}).repeat({count, 1, 1}), kTableCodes};
}

class ExactFill : public ::testing::TestWithParam<std::string> {
 protected:
  torch::Tensor sample(const Cells& start, Extent extent, std::int64_t count,
                       const WindowOptions& windows = {1, false, 0}) {
    const auto filled =
        fill_canvas(repeated(start, extent, count), table_, kTableGrid, exact_options(GetParam()), windows);
    return filled.grid.flat();
  }
  bool raster() const { return GetParam() == "raster"; }

  CachedTable table_;
  const Conditional native_ = [this](const Cells& grid, std::size_t cell) { return table_.conditional(grid, cell); };
  /// Of a 2x3 canvas seen through the windows of its left and right two columns.
  const Conditional windowed_ = [this](const Cells& grid, std::size_t cell) {
    std::vector<double> mean(3, 0);
    double seen = 0;
    for (std::size_t left = 0; left < 2; ++left) {
      const auto x = cell % 3, y = cell / 3;
      if (x < left || x > left + 1) continue;
      const Cells window = {grid[left], grid[left + 1], grid[left + 3], grid[left + 4]};
      const auto p = table_.conditional(window, y * 2 + x - left);
      for (std::size_t code = 0; code < 3; ++code) mean[code] += p[code];
      seen += 1;
    }
    for (auto& p : mean) p /= seen;
    return mean;
  };
};

TEST_P(ExactFill, UnconditionalSamplesFollowTheJoint) {
  const auto joint = example_joint();
  std::map<Cells, double> exact;
  for (std::int64_t i = 0; i < 81; ++i)
    exact[{i / 27, i / 9 % 3, i / 3 % 3, i % 3}] = joint.flatten()[i].item<double>();
  EXPECT_LT(chi_square_ratio(sample({3, 3, 3, 3}, kTableGrid, 3000), exact, {0, 1, 2, 3}), 1);
}

TEST_P(ExactFill, InpaintedSamplesFollowTheConditional) {
  const Cells start = {3, 2, 3, 3};
  const auto samples = sample(start, kTableGrid, 2000);
  EXPECT_TRUE(samples.select(1, 1).eq(2).all().item<bool>());
  EXPECT_LT(chi_square_ratio(samples, exact_fill(start, native_, true), {0, 2, 3}), 1);
}

TEST_P(ExactFill, StitchedSamplesFollowTheConditionalOfBothPieces) {
  const Cells start = {1, 3, 3, 0};  // a corner of one picture, the opposite one of another
  EXPECT_LT(chi_square_ratio(sample(start, kTableGrid, 2000), exact_fill(start, native_, true), {1, 2}), 1);
}

TEST_P(ExactFill, WindowedSamplesFollowTheMixture) {
  const Cells start(6, kTableCodes);
  const auto exact = exact_fill(start, windowed_, raster());
  EXPECT_LT(chi_square_ratio(sample(start, {2, 3}, 2000), exact, {0, 1, 2, 5}), 1);
}

TEST_P(ExactFill, WindowedInpaintingFollowsTheMixture) {
  const Cells start = {3, 0, 3, 2, 3, 3};
  const auto exact = exact_fill(start, windowed_, raster());
  EXPECT_LT(chi_square_ratio(sample(start, {2, 3}, 2000), exact, {0, 2, 4, 5}), 1);
}

TEST_P(ExactFill, CanvasesSmallerThanAWindowFollowTheMarginal) {
  const auto marginal = example_joint().sum(3).sum(2);
  std::map<Cells, double> exact;
  for (std::int64_t i = 0; i < 9; ++i) exact[{i / 3, i % 3}] = marginal.flatten()[i].item<double>();
  EXPECT_LT(chi_square_ratio(sample({3, 3}, {1, 2}, 1500), exact, {0, 1}), 1);
}

INSTANTIATE_TEST_SUITE_P(EverySampler, ExactFill, ::testing::Values("ancestral", "raster"),
                         [](const auto& which) { return which.param; });

TEST(ExactFillTest, ContextGuidanceComparesAWindowWithAnEmptyWindow) {
  const CachedTable exact;
  CachedTable table;
  constexpr std::int64_t kCount = 4000;
  auto codes = torch::full({kCount, 2, 4}, 1, torch::kInt64);
  codes.select(1, 0).select(1, 0).fill_(kTableCodes);  // a cell of the first window alone
  FillOptions options;
  options.sampler = "raster";
  options.context_guidance = 3;
  const auto filled = fill_canvas(TokenGrid(codes, kTableCodes), table, kTableGrid, options, {2, false, 0});
  const auto p = exact.conditional({kTableCodes, 1, 1, 1}, 0);
  const auto u = exact.conditional({kTableCodes, kTableCodes, kTableCodes, kTableCodes}, 0);
  std::vector<double> guided(p.size());
  double sum = 0;
  for (std::size_t code = 0; code < p.size(); ++code) sum += guided[code] = std::pow(p[code], 3) / std::pow(u[code], 2);
  EXPECT_GT(std::abs(guided[1] / sum - p[1]), 0.05);  // the test can tell them apart
  const auto drawn = filled.grid.codes().select(1, 0).select(1, 0);
  for (std::size_t code = 0; code < p.size(); ++code) {
    const double expected = guided[code] / sum;
    const auto share = drawn.eq(static_cast<std::int64_t>(code)).to(torch::kFloat64).mean().item<double>();
    EXPECT_NEAR(share, expected, 4 * std::sqrt(expected * (1 - expected) / kCount)) << code;
  }
}

TEST(ExactFillTest, TellsAWrongDistribution) {
  // Raster order on the 2x3 canvas is not what random order gives, nor are all cells at once: the tests above can tell.
  CachedTable table;
  auto options = exact_options("raster");
  options.steps = 1;
  const auto samples = fill_canvas(repeated({3, 3, 3, 3}, kTableGrid, 2000), table, kTableGrid, options).grid.flat();
  const Conditional native = [&](const Cells& grid, std::size_t cell) { return table.conditional(grid, cell); };
  EXPECT_GT(chi_square_ratio(samples, exact_fill({3, 3, 3, 3}, native, true), {0, 1, 2, 3}), 1.5);
}

}  // namespace exact_fill_test
}  // namespace tessera
