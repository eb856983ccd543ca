/// Canvases larger than the native grid against the numbers of the published program.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "canvas/fill_canvas.h"
#include "denoiser/transformer.h"
#include "import/importers.h"
#include "support/fixtures.h"

namespace tessera {
namespace big_canvas_parity_test {

using testing::FixtureCase;

Transformer import_network(const FixtureCase& fixture) {
  const auto& given = fixture.hyperparameters();
  ImportOptions options;
  options.heads = given.at("bert_n_head").get<std::int64_t>();
  const auto shape = given.at("latent_shape").get<std::vector<std::int64_t>>();
  options.grid = {shape.at(shape.size() - 2), shape.at(shape.size() - 1)};
  const auto imported = import_checkpoint(fixture.checkpoint(), options);
  if (!imported.denoiser) throw std::runtime_error(fixture.name() + ": no denoiser in the checkpoint");
  return load_transformer(imported.denoiser->config, imported.denoiser->tensors, fixture.name());
}

/// "probs_a_step2_temp_0p8" -> canvas "a", step 2, temperature 0.8.
struct Aggregate {
  std::string canvas;
  std::int64_t step = 0;
  double temperature = 0;
};
Aggregate parse(const std::string& key) {
  const auto step = key.find("_step"), temp = key.find("_temp_");
  auto number = key.substr(temp + 6);
  std::replace(number.begin(), number.end(), 'p', '.');
  return {key.substr(6, step - 6), std::stoll(key.substr(step + 5, temp - step - 5)), std::stod(number)};
}

/// The windows of the published program: no last one flush with the border.
std::vector<std::int64_t> without_flush(std::vector<std::int64_t> starts, std::int64_t step) {
  std::erase_if(starts, [step](std::int64_t start) { return start % step != 0; });
  return starts;
}

/// p^(1/temperature), normalised; rows of zeros stay.
torch::Tensor tempered(const torch::Tensor& p, double temperature) {
  const auto powered = p.pow(1 / temperature);
  const auto sums = powered.sum(-1, true);
  return powered / sums.where(sums > 0, torch::ones_like(sums));
}

TEST(Parity, BigCanvasAggregatedProbabilities) {
  TESSERA_FOR_EACH_CASE(fixture, "unleashing-big-canvas") {
    SCOPED_TRACE(fixture.name());
    const torch::NoGradGuard no_grad;
    auto network = import_network(fixture);
    const auto window = network->options().grid;
    std::int64_t compared = 0;
    for (const auto& [key, expected] : fixture.expected) {
      if (!key.starts_with("probs_")) continue;
      SCOPED_TRACE(key);
      const auto which = parse(key);
      const auto& tokens = fixture.tensor("canvas_" + which.canvas);
      const Extent canvas{tokens.size(1), tokens.size(2)};
      const WindowLattice flush{window, window_starts(canvas.h, window.h, which.step),
                                window_starts(canvas.w, window.w, which.step)};
      const WindowLattice released{window, without_flush(flush.tops, which.step),
                                   without_flush(flush.lefts, which.step)};
      std::int64_t evaluations = 0;
      const auto rows = torch::arange(tokens.numel());
      const auto evaluator = network->begin();
      const auto codes = network->codebook_size();
      const Look look{tokens.flatten(1), rows};
      const auto mixture = window_mixture(*evaluator, codes, released, canvas, look, 3, evaluations);
      EXPECT_EQ(evaluations, tokens.size(0) * released.count());
      EXPECT_TRUE(fixture.matches(key, tempered(mixture, which.temperature).view(expected.sizes())));
      const auto covered = fixture.tensor("count_" + key.substr(6, key.find("_temp_") - 6)) > 0;
      EXPECT_TRUE((mixture.view(expected.sizes())[0].sum(-1) > 0).equal(covered));
      // With a last window at the border nothing is left out.
      const auto whole = window_mixture(*evaluator, codes, flush, canvas, look, 64, evaluations);
      EXPECT_TRUE(torch::allclose(whole.sum(-1), torch::ones({rows.size(0)}), 1e-5, 1e-5));
      EXPECT_TRUE(released.count() < flush.count() || torch::allclose(whole, mixture, 1e-5, 1e-6));
      ++compared;
    }
    EXPECT_GE(compared, 1);
  }
}

TEST(Parity, BigCanvasGreedyRasterFill) {
  TESSERA_FOR_EACH_CASE(fixture, "unleashing-big-canvas") {
    SCOPED_TRACE(fixture.name());
    auto network = import_network(fixture);
    const auto& expected = fixture.tensor("greedy_canvas");
    EXPECT_TRUE(fixture.tensor("greedy_margin").gt(0).all().item<bool>());
    FillOptions options;
    options.sampler = "raster";
    options.steps = expected.numel();
    options.draw.temperature = 0;
    const auto start = TokenGrid::all_masked(1, {expected.size(1), expected.size(2)}, network->codebook_size());
    const auto filled = fill_canvas(start, *network, network->options().grid, options, {1, false, 0});
    EXPECT_TRUE(fixture.matches("greedy_canvas", filled.grid.codes()));
    EXPECT_EQ(filled.report.steps, expected.numel());
  }
}

}  // namespace big_canvas_parity_test
}  // namespace tessera
