#include "sampling/fill.h"
#include "sampling/registry.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "diffusion/absorbing.h"
#include "runtime/error.h"
#include "sampling/sampler.h"
#include "support/tiny_network.h"

namespace tessera {
namespace fill_test {

constexpr std::int64_t kCodes = 11;
constexpr Extent kGrid{3, 4};

Transformer tiny_network(TransformerKind kind) {
  return testing::tiny_network(kind, kCodes, kGrid, 2, 9);
}

Transformer network_for(const std::string& sampler) {
  return tiny_network(testing::kind_for(sampler));
}

FillOptions options_for(const std::string& sampler) {
  FillOptions options;
  options.sampler = sampler;
  options.steps = 7;
  options.seed = 21;
  return options;
}

/// Images 0..count-1, some cells known: another share in every image, from none to all.
TokenGrid partly_masked(std::int64_t count) {
  auto codes = (torch::arange(count * 12) * 7 % kCodes).view({count, 3, 4});
  for (std::int64_t n = 0; n < count; ++n) {
    codes[n].flatten().masked_fill_((torch::arange(12) * 5 % 12) < (n * 5) % 13, kCodes);
  }
  return {codes, kCodes};
}

TokenGrid some(const TokenGrid& grid, std::int64_t first, std::int64_t count) {
  return {grid.codes().narrow(0, first, count), grid.codebook_size()};
}

TEST(Fill, ImageIsTheSameHoweverTheBatchIsSplit) {
  const auto grid = partly_masked(24);
  for (const auto& sampler : testing::samplers_with_mask()) {
    auto network = network_for(sampler);
    for (const std::int64_t images_per_call : {0, 1, 4}) {
      auto options = options_for(sampler);
      options.images_per_call = images_per_call;
      options.first_image = 5;
      const auto whole = fill(grid, *network, options).grid.codes();
      for (const std::int64_t split : {1, 3, 8}) {
        for (std::int64_t first = 0; first < 24; first += split) {
          options.first_image = 5 + static_cast<std::uint64_t>(first);
          const auto part = fill(some(grid, first, split), *network, options).grid.codes();
          EXPECT_TRUE(part.equal(whole.narrow(0, first, split))) << sampler << " " << images_per_call << " " << split;
        }
      }
    }
  }
}

TEST(Fill, ImageIsTheSameWithAnyNumberOfThreads) {
  const auto grid = TokenGrid::all_masked(2, kGrid, kCodes);
  const int before = torch::get_num_threads();
  for (const auto& sampler : testing::samplers_with_mask()) {
    auto network = network_for(sampler);
    torch::set_num_threads(1);
    const auto one = fill(grid, *network, options_for(sampler)).grid.codes();
    torch::set_num_threads(2);
    EXPECT_TRUE(fill(grid, *network, options_for(sampler)).grid.codes().equal(one)) << sampler;
  }
  torch::set_num_threads(before);
}

TEST(Fill, KeepsKnownCellsAndLeavesNoMask) {
  const auto grid = partly_masked(13);
  for (const auto& sampler : testing::samplers_with_mask()) {
    auto network = network_for(sampler);
    const auto filled = fill(grid, *network, options_for(sampler)).grid;
    EXPECT_EQ(filled.masked_cells(), 0) << sampler;
    EXPECT_TRUE(torch::where(grid.masked().cells, grid.codes(), filled.codes()).equal(grid.codes())) << sampler;
  }
}

TEST(Fill, SeedsAndImagesDiffer) {
  for (const auto& sampler : testing::samplers_with_mask()) {
    auto network = network_for(sampler);
    auto options = options_for(sampler);
    const auto first = fill(TokenGrid::all_masked(2, kGrid, kCodes), *network, options).grid.codes();
    EXPECT_FALSE(first[0].equal(first[1])) << sampler;
    options.seed += 1;
    EXPECT_FALSE(fill(TokenGrid::all_masked(2, kGrid, kCodes), *network, options).grid.codes().equal(first)) << sampler;
  }
}

TEST(Fill, SkippedStepsChangeNothingButTheNumberOfEvaluations) {
  // The plain reverse process, with a network evaluation for every image at every step.
  auto network = tiny_network(TransformerKind::bidirectional);
  const torch::NoGradGuard no_grad;
  const std::int64_t steps = 40, images = 6;
  auto options = options_for("ancestral");
  options.steps = steps;
  const AbsorbingProcess process(kCodes, steps);
  auto tokens = torch::full({images, 12}, kCodes, torch::kInt64);
  std::int64_t changing = 0;
  DrawScratch scratch;
  for (std::int64_t t = steps; t >= 1; --t) {
    const auto step = static_cast<std::uint32_t>(t);
    const auto uniforms = uniform_rows(options.seed, Purpose::select_cells, 0, step, images, 12);
    const auto selected = process.revealed(tokens, uniforms, torch::full({images}, t, torch::kInt64));
    for (std::int64_t n = 0; n < images; ++n) {
      const auto logits = network->forward(tokens.narrow(0, n, 1))[0];
      changing += selected[n].any().item<bool>();
      for (std::int64_t cell = 0; cell < 12; ++cell) {
        if (!selected[n][cell].item<bool>()) continue;
        const RandomStream stream(options.seed, Purpose::draw_tokens, n, step);
        const double uniform = stream.uniform(static_cast<std::uint32_t>(cell));
        tokens[n][cell] = draw_token(logits[cell].data_ptr<float>(), kCodes, uniform, options.draw, scratch).token;
      }
    }
  }
  const auto result = fill(TokenGrid::all_masked(images, kGrid, kCodes), *network, options);
  EXPECT_TRUE(result.grid.flat().equal(tokens));
  EXPECT_EQ(result.report.steps, steps);
  EXPECT_EQ(result.report.evaluations, changing);
  EXPECT_LT(changing, images * 12);
}

TEST(Fill, AncestralStartsAtTheStepThatTheMaskedCellsImply) {
  EXPECT_EQ(starting_step(0, 12, 40), 0);
  EXPECT_EQ(starting_step(1, 1000, 40), 1);
  EXPECT_EQ(starting_step(6, 12, 40), 20);
  EXPECT_EQ(starting_step(12, 12, 40), 40);
  auto network = tiny_network(TransformerKind::bidirectional);
  auto codes = torch::zeros({2, 3, 4}, torch::kInt64);
  codes[0][0].fill_(kCodes);  // a third of the cells
  auto options = options_for("ancestral");
  options.steps = 30;
  EXPECT_EQ(fill(TokenGrid(codes, kCodes), *network, options).report.steps, 10);
  const auto nothing = fill(some(TokenGrid(codes, kCodes), 1, 1), *network, options).report;
  EXPECT_EQ(nothing.steps, 0);
  EXPECT_EQ(nothing.evaluations, 0);
}

TEST(Fill, ConfidenceLeavesWhatTheCosineScheduleSays) {
  auto network = tiny_network(TransformerKind::bidirectional);
  auto options = options_for("confidence");
  options.steps = 5;
  std::vector<std::int64_t> left;
  fill(TokenGrid::all_masked(1, kGrid, kCodes), *network, options, [&](const FillProgress& progress) {
    left.push_back((progress.tokens == kCodes).sum().item<std::int64_t>());
    EXPECT_EQ(progress.steps, 5);
    return true;
  });
  std::vector<std::int64_t> expected;
  for (int i = 1; i <= 5; ++i)
    expected.push_back(static_cast<std::int64_t>(12 * std::cos(std::numbers::pi / 2 * i / 5)));
  EXPECT_EQ(left, expected);
}

TEST(Fill, ConfidenceRevealsAtMostOneEvaluationACellWithManySteps) {
  auto network = tiny_network(TransformerKind::bidirectional);
  auto options = options_for("confidence");
  options.steps = 100;
  const auto report = fill(TokenGrid::all_masked(3, kGrid, kCodes), *network, options).report;
  EXPECT_EQ(report.steps, 100);
  EXPECT_LE(report.evaluations, 3 * 12);
}

TEST(Fill, MlmTimesAreTheFlooredLinearSpacing) {
  EXPECT_EQ(mlm_times(16, 4), (std::vector<std::int64_t>{16, 11, 6, 1}));
  EXPECT_EQ(mlm_times(16, 1), (std::vector<std::int64_t>{1}));
  EXPECT_EQ(mlm_times(3, 5), (std::vector<std::int64_t>{3, 2, 2, 1, 1}));
  for (std::int64_t steps = 2; steps < 300; ++steps) EXPECT_EQ(mlm_times(256, steps).front(), 256);
}

TEST(Fill, MlmDrawsAgainWhatItMasksAgain) {
  auto network = tiny_network(TransformerKind::bidirectional);
  auto options = options_for("mlm");
  std::vector<torch::Tensor> trace;
  const auto result =
      fill(TokenGrid::all_masked(2, kGrid, kCodes), *network, options, [&](const FillProgress& progress) {
        EXPECT_EQ((progress.tokens == kCodes).sum().item<std::int64_t>(), 0);
        trace.push_back(progress.tokens.clone());
        return true;
      });
  EXPECT_EQ(result.report.steps, 7);
  EXPECT_FALSE(trace[0].equal(trace[1]));
  EXPECT_LT((trace[5] != trace[6]).sum().item<std::int64_t>(), (trace[0] != trace[1]).sum().item<std::int64_t>());
}

TEST(Fill, CallbackCancels) {
  for (const auto& sampler : testing::samplers_with_mask()) {
    auto network = network_for(sampler);
    const auto result = fill(TokenGrid::all_masked(2, kGrid, kCodes), *network, options_for(sampler),
                             [](const FillProgress& progress) { return progress.step < 2; });
    EXPECT_TRUE(result.report.cancelled) << sampler;
    EXPECT_EQ(result.report.steps, 2) << sampler;
  }
}

TEST(Fill, AutoregressiveStopsAfterTheLastMaskedCell) {
  auto network = tiny_network(TransformerKind::autoregressive);
  auto codes = torch::zeros({1, 3, 4}, torch::kInt64);
  codes[0][1][0] = kCodes;
  const auto report = fill(TokenGrid(codes, kCodes), *network, options_for("autoregressive")).report;
  EXPECT_EQ(report.evaluations, 5);
}

template <typename Change>
std::string error_of(Change change) {
  FillOptions options;
  change(options);
  try {
    options.validate();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

TEST(FillOptions, ErrorsNameTheOptionAndWhatIsExpected) {
  EXPECT_EQ(error_of([](auto&) {}), "");
  std::string names;
  for (const auto& name : samplers().names()) names += (names.empty() ? "" : ", ") + name;
  EXPECT_EQ(error_of([](auto& o) { o.sampler = "ancestrl"; }),
            fmt::format("sampler 'ancestrl': expected one of {}", names));
  EXPECT_EQ(error_of([](auto& o) { o.steps = -1; }), "steps is -1, expected a whole number, 0 to 1048576");
  EXPECT_EQ(error_of([](auto& o) { o.draw.top_p = 0; }), "top_p is 0, expected above 0, at most 1");
  EXPECT_EQ(error_of([](auto& o) { o.draw.temperature = -1; }), "temperature is -1, expected 0 to 1000000");
  EXPECT_NE(error_of([](auto& o) { o.draw.temperature = std::nan(""); }), "");
  EXPECT_NE(error_of([](auto& o) { o.draw.top_k = -1; }), "");
  EXPECT_NE(error_of([](auto& o) { o.own["choice_temperature"] = -1.0; }), "");
  EXPECT_EQ(error_of([](auto& o) { o.context_guidance = 101; }), "context_guidance is 101, expected 0 to 100");
  EXPECT_NE(error_of([](auto& o) { o.total_steps = -1; }), "");
  EXPECT_NE(error_of([](auto& o) { o.images_per_call = -1; }), "");
}

TEST(Fill, RefusesASamplerOrGridThatDoesNotFitTheNetwork) {
  auto bidirectional = tiny_network(TransformerKind::bidirectional);
  auto autoregressive = tiny_network(TransformerKind::autoregressive);
  const auto grid = TokenGrid::all_masked(1, kGrid, kCodes);
  EXPECT_THROW(fill(grid, *bidirectional, options_for("autoregressive")), UsageError);
  EXPECT_THROW(fill(grid, *autoregressive, options_for("ancestral")), UsageError);
  EXPECT_THROW(fill(TokenGrid::all_masked(1, kGrid, 5), *bidirectional, options_for("ancestral")), Error);
  EXPECT_THROW(fill(TokenGrid::all_masked(1, {5, 4}, kCodes), *bidirectional, options_for("ancestral")), Error);
}

}  // namespace fill_test
}  // namespace tessera
