#include "canvas/windowed_denoiser.h"

#include <gtest/gtest.h>

#include "canvas/fill_canvas.h"
#include "runtime/error.h"
#include "runtime/wanted.h"
#include "support/plain_denoiser.h"
#include "support/tiny_network.h"

namespace tessera {
namespace windowed_denoiser_test {

using testing::logits_of;

constexpr std::int64_t kCodes = 11;
constexpr Extent kWindow{3, 4};

Transformer tiny_network(TransformerKind kind = TransformerKind::bidirectional) {
  return testing::tiny_network(kind, kCodes, kWindow, 1, 9);
}

FillOptions options_for(const std::string& sampler, std::int64_t steps) {
  FillOptions options;
  options.sampler = sampler;
  options.steps = steps;
  options.seed = 4;
  return options;
}

TEST(WindowedDenoiser, EvaluatesOnlyTheWindowsThatHoldAnAskedCell) {
  auto network = tiny_network();
  const torch::NoGradGuard no_grad;
  const Extent canvas{30, 40};
  WindowedDenoiser windowed(*network, kWindow, canvas, {1, false, 5});
  const auto tokens = torch::full({1, canvas.cells()}, kCodes, torch::kInt64);
  const auto corner = logits_of(windowed, tokens, torch::zeros({1}, torch::kInt64));
  EXPECT_EQ(corner.sizes(), (std::vector<std::int64_t>{1, kCodes}));
  EXPECT_EQ(windowed.evaluations(), 1);
  logits_of(windowed, tokens, torch::full({1}, 15 * 40 + 20, torch::kInt64));
  EXPECT_EQ(windowed.evaluations(), 1 + 3 * 4);
}

TEST(WindowedDenoiser, OnItsOwnExtentItIsTheNetwork) {
  auto network = tiny_network();
  const torch::NoGradGuard no_grad;
  WindowedDenoiser windowed(*network, kWindow, kWindow, {});
  auto tokens = (torch::arange(24) % (kCodes + 1)).view({2, 12});
  const auto rows = torch::tensor({3, 0, 23, 12});
  EXPECT_TRUE(torch::allclose(logits_of(windowed, tokens, rows),
                              torch::log_softmax(network->logits_at(tokens, rows), -1), 1e-4, 1e-5));
}

TEST(WindowedDenoiser, RowsMayComeInAnyOrder) {
  auto network = tiny_network();
  const torch::NoGradGuard no_grad;
  const Extent canvas{7, 9};
  WindowedDenoiser windowed(*network, kWindow, canvas, {2, false, 4});
  const auto tokens = (torch::arange(2 * canvas.cells()) * 5 % (kCodes + 1)).view({2, canvas.cells()});
  const auto all = logits_of(windowed, tokens, torch::arange(tokens.numel()));
  const auto rows = torch::tensor({80, 3, 125, 0, 62});
  EXPECT_TRUE(torch::allclose(logits_of(windowed, tokens, rows), all.index_select(0, rows), 1e-4, 1e-5));
}

TEST(WindowedFill, ImageIsTheSameHoweverTheBatchIsSplit) {
  auto network = tiny_network();
  const Extent canvas{5, 9};
  auto codes = (torch::arange(4 * canvas.cells()) * 7 % (kCodes + 3)).clamp_max(kCodes).view({4, canvas.h, canvas.w});
  for (const bool random : {false, true}) {
    for (const auto* sampler : {"ancestral", "confidence", "mlm", "raster"}) {
      auto options = options_for(sampler, 6);
      const WindowOptions windows{0, random, 0};
      const auto whole = fill_canvas(TokenGrid(codes, kCodes), *network, kWindow, options, windows).grid.codes();
      EXPECT_EQ((whole == kCodes).sum().item<std::int64_t>(), 0) << sampler;
      EXPECT_TRUE(torch::where(codes == kCodes, whole, codes).equal(whole)) << sampler;
      for (std::int64_t n = 0; n < 4; ++n) {
        options.first_image = static_cast<std::uint64_t>(n);
        const TokenGrid one(codes.narrow(0, n, 1), kCodes);
        EXPECT_TRUE(fill_canvas(one, *network, kWindow, options, windows).grid.codes()[0].equal(whole[n]))
            << sampler << " " << n;
      }
    }
  }
}

TEST(WindowedFill, AnotherFillBetweenItsWindowsChangesNothing) {
  auto network = tiny_network();
  const torch::NoGradGuard no_grad;
  const auto masked = [](Extent canvas) {
    return TokenGrid(torch::full({1, canvas.h, canvas.w}, kCodes, torch::kInt64), kCodes);
  };
  const auto large = masked({9, 12}), small = masked({5, 4});
  const auto options = options_for("confidence", 3);
  const auto fill_of = [&](const TokenGrid& grid) {
    return fill_canvas(grid, *network, kWindow, options, {2, false, 4}).grid.codes();
  };
  const auto alone = fill_of(large), small_alone = fill_of(small);
  std::int64_t between = 0;
  torch::Tensor within;
  {
    const WantedWhile watch([&] {
      if (++between % 5 == 0) {
        const WantedWhile quiet([] { return true; });
        within = fill_of(small);
      }
      return true;
    });
    EXPECT_TRUE(torch::equal(fill_of(large), alone));
  }
  ASSERT_GE(between, 10) << "a step is of several calls";
  EXPECT_TRUE(torch::equal(within, small_alone));
  const WantedWhile unwanted([] { return false; });
  EXPECT_THROW(fill_of(large), Unwanted);
}

TEST(WindowedFill, RandomWindowsDifferFromFixedOnes) {
  auto network = tiny_network();
  const auto start = TokenGrid::all_masked(1, {9, 12}, kCodes);
  const auto options = options_for("raster", 1 << 20);
  const auto fixed = fill_canvas(start, *network, kWindow, options, {2, false, 0}).grid.codes();
  EXPECT_FALSE(fill_canvas(start, *network, kWindow, options, {2, true, 0}).grid.codes().equal(fixed));
}

TEST(WindowedFill, EvaluationsPerCellDoNotGrowWithTheCanvas) {
  auto network = tiny_network();
  for (const std::int64_t scale : {2, 4, 8}) {
    const Extent canvas{kWindow.h * scale, kWindow.w * scale};
    const auto grid = TokenGrid::all_masked(1, canvas, kCodes);
    const auto evaluations = [&](const char* sampler, std::int64_t steps) {
      return fill_canvas(grid, *network, kWindow, options_for(sampler, steps)).report.evaluations;
    };
    // One cell a step: each cell costs the windows that hold it, at a stride of half a window (1 and 2 cells) at most
    // six.
    const auto windows = static_cast<std::int64_t>(window_starts(canvas.h, kWindow.h, 1).size() *
                                                   window_starts(canvas.w, kWindow.w, 2).size());
    EXPECT_EQ(evaluations("raster", 1 << 20), windows * kWindow.cells());
    EXPECT_LE(windows * kWindow.cells(), 6 * canvas.cells());
    // Many cells a step share windows: at most every window at every step.
    EXPECT_LE(evaluations("ancestral", 1 << 12), windows * kWindow.cells());
    EXPECT_LE(evaluations("ancestral", 8), windows * 8);
  }
}

TEST(WindowedFill, RefusesAnAutoregressiveNetworkAndSaysWhy) {
  auto network = tiny_network(TransformerKind::autoregressive);
  const auto options = options_for("autoregressive", 1);
  try {
    fill_canvas(TokenGrid::all_masked(1, {6, 8}, kCodes), *network, kWindow, options);
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("grid of 4x3 cells only, not 8x6"), std::string::npos) << error.what();
  }
  auto codes = torch::full({1, 3, 4}, kCodes, torch::kInt64);
  codes[0][0].fill_(2);
  const auto completed = fill_canvas(TokenGrid(codes, kCodes), *network, kWindow, options).grid.codes();
  EXPECT_TRUE(completed[0][0].eq(2).all().item<bool>());
  EXPECT_EQ((completed == kCodes).sum().item<std::int64_t>(), 0);
  codes[0][2][1] = 5;
  try {
    fill_canvas(TokenGrid(codes, kCodes), *network, kWindow, options);
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("cell (1, 2) is kept after one to be filled"), std::string::npos)
        << error.what();
  }
}

TEST(WindowOptions, ErrorsNameTheOption) {
  EXPECT_THROW((WindowOptions{5, false, 0}.validate(kWindow)), UsageError);
  EXPECT_THROW((WindowOptions{-1, false, 0}.validate(kWindow)), UsageError);
  EXPECT_THROW((WindowOptions{0, false, -1}.validate(kWindow)), UsageError);
  EXPECT_NO_THROW((WindowOptions{4, false, 0}.validate(kWindow)));
}

}  // namespace windowed_denoiser_test
}  // namespace tessera
