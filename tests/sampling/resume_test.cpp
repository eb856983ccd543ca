/// A fill that stops and goes on, and the raster sampler.
#include <gtest/gtest.h>

#include "runtime/error.h"
#include "sampling/fill.h"
#include "sampling/registry.h"
#include "support/tiny_network.h"

namespace tessera {
namespace resume_test {

constexpr std::int64_t kCodes = 7;
constexpr Extent kGrid{3, 4};

Transformer network_for(const std::string& sampler) {
  return testing::tiny_network(testing::kind_for(sampler), kCodes, kGrid, 1, 3);
}

FillOptions options_for(const std::string& sampler) {
  FillOptions options;
  options.sampler = sampler;
  options.steps = 5;
  options.seed = 8;
  return options;
}

TokenGrid partly_masked() {
  auto codes = (torch::arange(36) * 5 % kCodes).view({3, 3, 4});
  codes[0].fill_(kCodes);
  codes[1].narrow(0, 1, 2).fill_(kCodes);
  codes[2][2].fill_(kCodes);
  return {codes, kCodes};
}

TEST(FillCheckpoint, GoingOnGivesWhatTheUnbrokenFillGives) {
  const auto grid = partly_masked();
  for (const auto& sampler : testing::samplers_with_mask()) {
    auto network = network_for(sampler);
    const auto options = options_for(sampler);
    std::vector<FillCheckpoint> points;
    const auto whole = fill(grid, *network, options, [&](const FillProgress& at) {
      points.push_back({at.tokens.clone(), at.step});
      return true;
    });
    ASSERT_GE(points.size(), 3U) << sampler;
    for (const auto& point : points) {
      const auto rest = fill(grid, *network, options, {}, point);
      EXPECT_TRUE(rest.grid.codes().equal(whole.grid.codes())) << sampler << " from step " << point.step;
      EXPECT_TRUE(sampler == "autoregressive" || rest.report.evaluations < whole.report.evaluations) << sampler;
    }
  }
}

TEST(FillCheckpoint, MustBelongToTheGrid) {
  auto network = network_for("ancestral");
  const auto grid = partly_masked();
  const auto options = options_for("ancestral");
  EXPECT_THROW(fill(grid, *network, options, {}, {grid.codes().narrow(0, 0, 2), 1}), Error);
  EXPECT_THROW(fill(grid, *network, options, {}, {grid.codes() + kCodes + 1, 1}), Error);
  EXPECT_THROW(fill(grid, *network, options, {}, {grid.codes(), -1}), Error);
  EXPECT_THROW(fill(grid, *network, options, {}, {(grid.codes() + 1).clamp_max(kCodes), 1}), Error);
}

TEST(RasterSampler, FillsInReadingOrderAShareOfTheCellsAStep) {
  auto network = network_for("raster");
  auto options = options_for("raster");
  std::vector<std::vector<std::int64_t>> left;  // per step, cells still masked in each image
  const auto report = fill(partly_masked(), *network, options, [&](const FillProgress& at) {
                        const auto masked = (at.tokens == kCodes).flatten(1);
                        left.emplace_back();
                        for (std::int64_t n = 0; n < 3; ++n)
                          left.back().push_back(masked[n].sum().item<std::int64_t>());
                        // What is masked comes after all that has been filled.
                        const auto first = masked[0].to(torch::kInt64).argmax().item<std::int64_t>();
                        EXPECT_TRUE(left.back()[0] == 0 || 12 - first == left.back()[0]);
                        return true;
                      }).report;
  EXPECT_EQ(report.steps, 5);
  EXPECT_EQ(left, (std::vector<std::vector<std::int64_t>>{{10, 7, 3}, {8, 5, 2}, {5, 4, 1}, {3, 2, 0}, {0, 0, 0}}));
  EXPECT_EQ(report.evaluations, 5 + 5 + 4);
}

}  // namespace resume_test
}  // namespace tessera
