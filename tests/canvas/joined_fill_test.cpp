/// Images of several seeds in one fill: each comes out as it does alone, and one that is no longer wanted costs
/// nothing.
#include <gtest/gtest.h>

#include "canvas/fill_canvas.h"
#include "runtime/error.h"
#include "sampling/fill.h"
#include "sampling/registry.h"
#include "support/tiny_network.h"

namespace tessera {
namespace joined_fill_test {

constexpr std::int64_t kCodes = 11;
constexpr Extent kGrid{3, 4};

Transformer network_for(const std::string& sampler) {
  return testing::tiny_network(testing::kind_for(sampler), kCodes, kGrid, 2, 9);
}

FillOptions options_for(const std::string& sampler) {
  FillOptions options;
  options.sampler = sampler;
  options.steps = 7;
  return options;
}

const std::vector<ImageKey> kKeys = {{21, 0}, {4, 0}, {21, 5}, {900719925474099, 2}, {4, 1}};

TokenGrid partly_masked(Extent extent) {
  const auto count = static_cast<std::int64_t>(kKeys.size()), cells = extent.cells();
  auto codes = (torch::arange(count * cells) * 7 % kCodes).view({count, extent.h, extent.w});
  for (std::int64_t n = 0; n < count; ++n) {
    codes[n].flatten().masked_fill_((torch::arange(cells) * 5 % cells) < cells - 2 * n, kCodes);
  }
  return {codes, kCodes};
}

TEST(JoinedFill, EveryImageIsTheOneThatItsSeedMakesAlone) {
  const auto grid = partly_masked(kGrid);
  for (const auto& sampler : testing::samplers_with_mask()) {
    auto network = network_for(sampler);
    auto together = options_for(sampler);
    together.images = kKeys;
    const auto joined = fill(grid, *network, together).grid.codes();
    for (std::size_t n = 0; n < kKeys.size(); ++n) {
      auto alone = options_for(sampler);
      alone.seed = kKeys[n].seed;
      alone.first_image = kKeys[n].image;
      const auto at = static_cast<std::int64_t>(n);
      const auto own = fill({grid.codes().narrow(0, at, 1), kCodes}, *network, alone).grid.codes()[0];
      EXPECT_TRUE(own.equal(joined[at])) << sampler << ", image " << n;
    }
  }
}

TEST(JoinedFill, RandomWindowsOfACanvasFollowEachImagesOwnSeed) {
  const Extent canvas{5, 9};
  const auto grid = partly_masked(canvas);
  auto network = network_for("ancestral");
  const WindowOptions windows{2, true, 3};
  auto together = options_for("ancestral");
  together.images = kKeys;
  const auto joined = fill_canvas(grid, *network, kGrid, together, windows).grid.codes();
  for (std::size_t n = 0; n < kKeys.size(); ++n) {
    auto alone = options_for("ancestral");
    alone.seed = kKeys[n].seed;
    alone.first_image = kKeys[n].image;
    const auto at = static_cast<std::int64_t>(n);
    const auto own = fill_canvas({grid.codes().narrow(0, at, 1), kCodes}, *network, kGrid, alone, windows);
    EXPECT_TRUE(own.grid.codes()[0].equal(joined[at])) << "image " << n;
  }
}

TEST(JoinedFill, AnAbandonedImageCostsNoEvaluationAndChangesNoOther) {
  const auto grid = TokenGrid::all_masked(static_cast<std::int64_t>(kKeys.size()), kGrid, kCodes);
  for (const auto& sampler : testing::samplers_with_mask()) {
    if (sampler == "autoregressive") continue;  // its images share every call
    auto network = network_for(sampler);
    auto options = options_for(sampler);
    options.images = kKeys;
    const auto whole = fill(grid, *network, options);
    options.abandoned = [](std::int64_t n) { return n == 1 || n == 3; };
    const auto rest = fill(grid, *network, options);
    for (const std::int64_t n : {0, 2, 4}) EXPECT_TRUE(rest.grid.codes()[n].equal(whole.grid.codes()[n])) << sampler;
    EXPECT_LT(rest.report.evaluations, whole.report.evaluations) << sampler;
    options.abandoned = [](std::int64_t) { return true; };
    EXPECT_EQ(fill(grid, *network, options).report.evaluations, 0) << sampler;
  }
}

TEST(JoinedFill, AsManyKeysAsGridsAreExpected) {
  auto network = network_for("ancestral");
  auto options = options_for("ancestral");
  options.images = {{1, 0}};
  EXPECT_THROW(fill(TokenGrid::all_masked(2, kGrid, kCodes), *network, options), Error);
}

}  // namespace joined_fill_test
}  // namespace tessera
