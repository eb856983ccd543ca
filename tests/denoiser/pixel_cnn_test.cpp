#include "denoiser/pixel_cnn.h"

#include <gtest/gtest.h>

#include <cmath>

#include "denoiser/networks.h"

namespace tessera {
namespace pixel_cnn_test {

PixelCnnOptions small_options(std::int64_t classes = 0) {
  PixelCnnOptions options;
  options.codebook_size = 5;
  options.grid = {4, 5};
  options.layers = 4;
  options.width = 6;
  options.hidden = 7;
  options.classes = classes;
  return options;
}

PixelCnn network_of(const PixelCnnOptions& options, Seed seed = 3) {
  PixelCnn network(options);
  network->initialise(seed);
  network->eval();
  return network;
}

torch::Tensor some_tokens(const PixelCnnOptions& options, std::int64_t count) {
  torch::manual_seed(1);
  return torch::randint(0, options.codebook_size, {count, options.grid.cells()});
}

/// Which cells' tokens the logits of each cell depend on, [L, L] bool: by gradients through the embeddings, each cell
/// of a code of its own.
torch::Tensor dependences(PixelCnnOptions options, std::int64_t layers) {
  const auto cells = options.grid.cells();
  options.layers = layers;
  options.codebook_size = cells;
  options.width = 16;
  options.hidden = 64;  // enough that some are above zero everywhere
  auto network = network_of(options);
  auto table = network->named_parameters()["token_embedding.weight"];
  const auto tokens = torch::arange(cells).unsqueeze(0);
  const auto logits = network->forward(tokens)[0];  // [L, K]
  std::vector<torch::Tensor> rows;
  for (std::int64_t cell = 0; cell < cells; ++cell) {
    const auto gradient = torch::autograd::grad({logits[cell].sum()}, {table}, {}, true, false, true)[0];
    rows.push_back(gradient.defined() ? gradient.abs().sum(1) > 0 : torch::zeros({cells}, torch::kBool));
  }
  return torch::stack(rows);
}

TEST(PixelCnn, EachCellDependsOnThoseBeforeItAndNoOther) {
  const auto options = small_options();
  const auto found = dependences(options, 4);
  const auto cells = options.grid.cells();
  const auto before = torch::ones({cells, cells}, torch::kBool).tril(-1);
  EXPECT_TRUE(found.equal(before)) << (found != before).nonzero();  // all of them: there is no blind spot
  EXPECT_EQ(found[0].sum().item<std::int64_t>(), 0);
}

TEST(PixelCnn, OneLayerReachesAsFarAsItsKernelAndNotIntoItsOwnRowsRight) {
  auto options = small_options();
  options.grid = {6, 6};
  options.first_kernel = 3;
  const auto found = dependences(options, 1);
  const auto at = [](std::int64_t y, std::int64_t x) { return y * 6 + x; };
  const auto of = found[at(3, 3)];
  for (std::int64_t y = 0; y < 6; ++y) {
    for (std::int64_t x = 0; x < 6; ++x) {
      const bool above = y == 2 && x >= 2 && x <= 4, left = y == 3 && x == 2;
      EXPECT_EQ(of[at(y, x)].item<bool>(), above || left) << y << " " << x;
    }
  }
}

TEST(PixelCnn, CachedDecodingGivesTheLogitsOfTheWholePass) {
  for (const auto grid : {Extent{4, 5}, Extent{1, 6}, Extent{5, 1}, Extent{3, 3}}) {
    for (const std::int64_t classes : {0, 3}) {
      auto options = small_options(classes);
      options.grid = grid;
      const torch::NoGradGuard no_grad;
      auto network = network_of(options);
      const auto tokens = some_tokens(options, 3);
      std::vector<Condition> conditions(3);
      for (std::int64_t n = 0; n < 3 && classes > 0; ++n) conditions[static_cast<std::size_t>(n)].label = n - 1;
      const auto evaluator = network->begin(conditions);
      const auto whole = evaluator->logits_in_order(tokens);
      const auto decoding = evaluator->decode(3);
      for (std::int64_t cell = 0; cell < grid.cells(); ++cell) {
        const auto logits = decoding->advance(cell == 0 ? torch::Tensor() : tokens.select(1, cell - 1));
        EXPECT_TRUE(torch::allclose(logits, whole.select(1, cell), 1e-4, 1e-5))
            << grid.h << "x" << grid.w << " " << cell;
      }
      EXPECT_THROW((void)decoding->advance(tokens.select(1, 0)), std::runtime_error);
    }
  }
}

TEST(PixelCnn, TheProbabilitiesOfAllGridsSumToOne) {
  auto options = small_options();
  options.codebook_size = 3;
  options.grid = {2, 2};
  const torch::NoGradGuard no_grad;
  auto network = network_of(options);
  const auto index = torch::arange(81);
  const auto grids =
      torch::stack({index.div(27, "floor") % 3, index.div(9, "floor") % 3, index.div(3, "floor") % 3, index % 3}, 1);
  const auto log_p = torch::log_softmax(network->forward(grids).to(torch::kFloat64), -1);
  EXPECT_NEAR(log_p.gather(2, grids.unsqueeze(2)).sum({1, 2}).exp().sum().item<double>(), 1, 1e-6);
}

TEST(PixelCnn, TheClassMattersAndGuidanceLeadsAwayFromNone) {
  const torch::NoGradGuard no_grad;
  auto options = small_options(3);
  auto network = network_of(options);
  const auto tokens = some_tokens(options, 1);
  const auto logits = [&](std::int64_t label, double scale) {
    Condition condition;
    condition.label = label;
    condition.scale = scale;
    return torch::log_softmax(network->begin({condition})->decode(1)->advance({}), -1);
  };
  EXPECT_FALSE(torch::allclose(logits(0, 1), logits(1, 1), 1e-4, 1e-4));
  const auto none = logits(-1, 1), own = logits(2, 1);
  EXPECT_TRUE(torch::allclose(logits(2, 3), torch::log_softmax(none + 3 * (own - none), -1), 1e-4, 1e-4));
  Condition beyond;
  beyond.label = 3;
  EXPECT_THROW((void)network->begin({beyond}), std::runtime_error);
}

TEST(PixelCnn, IsLoadedByItsConfigurationAndRefusesTensorsOfAnother) {
  auto options = small_options(2);
  auto network = network_of(options);
  const auto config = options.to_config();
  EXPECT_EQ(PixelCnnOptions::from_config(config).to_config(), config);
  const auto facts = network_facts(config, "here");
  EXPECT_TRUE(facts.autoregressive);
  EXPECT_EQ(facts.classes, 2);
  const auto loaded = tessera::network_of(config, "here").load({config, network->state(), "here"});
  const auto tokens = some_tokens(options, 2);
  const torch::NoGradGuard no_grad;
  EXPECT_TRUE(loaded->begin()->logits_in_order(tokens).equal(network->begin()->logits_in_order(tokens)));
  auto tensors = network->state();
  tensors.erase("head.bias");
  EXPECT_THROW((void)tessera::network_of(config, "here").load({config, tensors, "here"}), std::runtime_error);
  options.kernel = 4;
  EXPECT_THROW(options.validate(), std::runtime_error);
}

}  // namespace pixel_cnn_test
}  // namespace tessera
