#include "denoiser/transformer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "runtime/error.h"

namespace tessera {
namespace transformer_test {

TransformerOptions tiny(TransformerKind kind) {
  TransformerOptions options;
  options.kind = kind;
  options.codebook_size = 7;
  options.grid = {2, 3};
  options.layers = 2;
  options.heads = 2;
  options.width = 8;
  return options;
}

torch::Tensor some_tokens(std::int64_t count, std::int64_t cells, std::int64_t codes) {
  return (torch::arange(count * cells) * 5 % codes).view({count, cells});
}

/// A network whose positions and start token are not zero, so that mistakes with them show.
Transformer random_network(TransformerKind kind, torch::Dtype dtype = torch::kFloat32) {
  Transformer network(tiny(kind), Initialisation::framework, 3);
  const torch::NoGradGuard no_grad;
  for (auto& [name, tensor] : network->state()) {
    if (name == "position_embedding" || name == "start_token")
      tensor.copy_(torch::arange(tensor.numel()).view(tensor.sizes()).sin());
  }
  network->to(dtype);
  network->eval();
  return network;
}

TEST(Transformer, LogitsOfSomeCellsEqualThoseOfAll) {
  for (const auto kind : {TransformerKind::bidirectional, TransformerKind::autoregressive}) {
    auto network = random_network(kind, torch::kFloat64);
    const auto tokens = some_tokens(3, kind == TransformerKind::bidirectional ? 6 : 5, 7);
    const auto all = network->forward(tokens).flatten(0, 1);
    const auto rows = torch::tensor({0, 4, 5, 11, 17}, torch::kInt64);
    EXPECT_TRUE(torch::allclose(network->logits_at(tokens, rows), all.index_select(0, rows), 1e-12, 1e-12));
  }
}

TEST(Transformer, AutoregressiveLogitsSeeOnlyEarlierTokens) {
  auto network = random_network(TransformerKind::autoregressive, torch::kFloat64);
  const auto tokens = some_tokens(1, 5, 7);
  auto changed = tokens.clone();
  changed[0][2] = (changed[0][2] + 1) % 7;
  const auto difference = (network->forward(tokens) - network->forward(changed)).abs().amax(2)[0];
  EXPECT_EQ(difference.narrow(0, 0, 3).max().item<double>(), 0);
  EXPECT_GT(difference.narrow(0, 3, 3).min().item<double>(), 1e-6);
  EXPECT_TRUE(torch::allclose(network->forward(tokens.narrow(1, 0, 2)), network->forward(tokens).narrow(1, 0, 3), 1e-10,
                              1e-12));
}

TEST(Transformer, BidirectionalLogitsSeeEveryToken) {
  auto network = random_network(TransformerKind::bidirectional, torch::kFloat64);
  const auto tokens = some_tokens(1, 6, 7);
  auto changed = tokens.clone();
  changed[0][4] = 7;  // MASK
  const auto difference = (network->forward(tokens) - network->forward(changed)).abs().amax(2)[0];
  EXPECT_GT(difference.min().item<double>(), 1e-6);
}

TEST(Transformer, DecodingWithItsCacheEqualsTheFullForward) {
  auto network = random_network(TransformerKind::autoregressive);
  const auto tokens = some_tokens(4, 6, 7);
  const auto full = network->forward(tokens.narrow(1, 0, 5));
  const auto decoding = network->begin()->decode(4);
  for (std::int64_t cell = 0; cell < 6; ++cell) {
    const auto previous = cell == 0 ? torch::Tensor() : tokens.select(1, cell - 1);
    EXPECT_TRUE(torch::allclose(decoding->advance(previous), full.select(1, cell), 1e-5, 1e-5)) << "cell " << cell;
  }
  EXPECT_THROW(decoding->advance(tokens.select(1, 5)), Error);
  EXPECT_THROW(random_network(TransformerKind::bidirectional)->begin()->decode(1), Error);
}

TEST(Transformer, DecodingInBfloat16StaysNearTheFullForward) {
  auto network = random_network(TransformerKind::autoregressive);
  network->set_precision(Precision::bfloat16);
  const torch::NoGradGuard no_grad;
  const auto tokens = some_tokens(4, 6, 7);
  const auto full = network->forward(tokens.narrow(1, 0, 5));
  const auto decoding = network->begin()->decode(4);
  for (std::int64_t cell = 0; cell < 6; ++cell) {
    const auto logits = decoding->advance(cell == 0 ? torch::Tensor() : tokens.select(1, cell - 1));
    const auto expected = full.select(1, cell);
    EXPECT_LT((logits - expected).norm().item<double>(), 0.02 * expected.norm().item<double>()) << "cell " << cell;
  }
}

TEST(Transformer, GradientsMatchFiniteDifferencesInFloat64) {
  for (const auto kind : {TransformerKind::bidirectional, TransformerKind::autoregressive}) {
    auto network = random_network(kind, torch::kFloat64);
    const auto tokens = some_tokens(2, 5, 7);
    const auto rows = torch::tensor({1, 3, 8}, torch::kInt64);
    const auto loss = [&] { return network->logits_at(tokens, rows).log_softmax(-1).select(1, 2).sum(); };
    network->zero_grad();
    loss().backward();
    for (const auto& item : network->named_parameters()) {
      const torch::NoGradGuard no_grad;
      auto flat = item.value().view(-1);
      const auto gradient = item.value().grad().flatten();
      for (const std::int64_t at : {std::int64_t{0}, flat.numel() / 2, flat.numel() - 1}) {
        const double before = flat[at].item<double>(), step = 1e-5;
        flat[at] = before + step;
        const double up = loss().item<double>();
        flat[at] = before - step;
        const double down = loss().item<double>();
        flat[at] = before;
        EXPECT_NEAR((up - down) / (2 * step), gradient[at].item<double>(), 1e-7) << item.key() << "[" << at << "]";
      }
    }
  }
}

TEST(Transformer, StateGoesThroughConfigAndTensorsUnchanged) {
  for (const auto kind : {TransformerKind::bidirectional, TransformerKind::autoregressive}) {
    auto network = random_network(kind);
    auto copy = load_transformer(network->options().to_config(), network->state(), "test");
    const auto tokens = some_tokens(2, 4, 7);
    EXPECT_TRUE(copy->forward(tokens).equal(network->forward(tokens)));
    EXPECT_EQ(copy->options().kind, kind);
  }
}

TEST(Transformer, LoadingNamesEveryTensorThatDoesNotFit) {
  auto network = random_network(TransformerKind::bidirectional);
  auto tensors = network->state();
  tensors.erase("blocks.1.mlp.up.bias");
  tensors["head.bias"] = torch::zeros({7});
  tensors["final_norm.weight"] = torch::zeros({9});
  try {
    network->load(tensors, "some/file");
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "some/file: the tensors do not fit; missing: blocks.1.mlp.up.bias [32]; unexpected: head.bias [7]; of "
                 "another shape: final_norm.weight [9] (expected [8])");
  }
}

TEST(Transformer, ConfigErrorsNameTheField) {
  auto config = tiny(TransformerKind::bidirectional).to_config();
  config["tessera"]["heads"] = 3;
  EXPECT_THROW(TransformerOptions::from_config(config), Error);
  config["tessera"].erase("heads");
  try {
    TransformerOptions::from_config(config);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("'heads'"), std::string::npos) << error.what();
  }
  config = tiny(TransformerKind::bidirectional).to_config();
  config["tessera"]["kind"] = "causal";
  EXPECT_THROW(TransformerOptions::from_config(config), Error);
}

TEST(Transformer, InitialisationIsReproducibleAndWithinItsBounds) {
  const auto options = tiny(TransformerKind::bidirectional);
  const auto state = Transformer(options, Initialisation::framework, 5)->state();
  const auto again = Transformer(options, Initialisation::framework, 5)->state();
  for (const auto& [name, tensor] : state) EXPECT_TRUE(tensor.equal(again.at(name))) << name;
  const auto& up = state.at("blocks.0.mlp.up.weight");
  EXPECT_LE(up.abs().max().item<double>(), 1 / std::sqrt(8.0));
  EXPECT_GT(up.abs().max().item<double>(), 0.9 / std::sqrt(8.0));
  EXPECT_GT(state.at("blocks.0.attention.qkv.bias").abs().max().item<double>(), 0);
  EXPECT_EQ(state.at("position_embedding").abs().max().item<double>(), 0);
  const auto small = Transformer(options, Initialisation::small_normal, 5)->state();
  EXPECT_NEAR(small.at("blocks.0.mlp.up.weight").std().item<double>(), 0.02, 0.005);
  EXPECT_EQ(small.at("blocks.0.mlp.up.bias").abs().max().item<double>(), 0);
}

TEST(Transformer, DropoutRepeatsWithItsSeedAndRestsInEvaluation) {
  auto options = tiny(TransformerKind::bidirectional);
  options.dropout = 0.5;
  Transformer network(options, Initialisation::framework, 3);
  const auto tokens = some_tokens(2, 6, 7);
  network->seed_dropout(1);
  const auto first = network->forward(tokens);
  EXPECT_FALSE(network->forward(tokens).equal(first));
  network->seed_dropout(1);
  EXPECT_TRUE(network->forward(tokens).equal(first));
  network->eval();
  EXPECT_TRUE(network->forward(tokens).equal(network->forward(tokens)));
}

TEST(Transformer, Bfloat16ProductsStayNearFloat32AndTrain) {
  for (const auto kind : {TransformerKind::bidirectional, TransformerKind::autoregressive}) {
    auto network = random_network(kind);
    const auto tokens = some_tokens(3, 5, 7);
    const auto exact = network->forward(tokens);
    network->set_precision(Precision::bfloat16);
    const auto rounded = network->forward(tokens);
    EXPECT_EQ(rounded.scalar_type(), torch::kFloat32);
    EXPECT_FALSE(rounded.equal(exact));
    EXPECT_LT((rounded - exact).norm().item<double>(), 0.02 * exact.norm().item<double>());
    rounded.square().sum().backward();
    for (const auto& item : network->named_parameters()) {
      EXPECT_EQ(item.value().grad().scalar_type(), torch::kFloat32) << item.key();
    }
    network->set_precision(Precision::float32);
    EXPECT_TRUE(network->forward(tokens).equal(exact));
  }
}

TEST(Transformer, TokensOfAnotherShapeAreRefused) {
  auto network = random_network(TransformerKind::bidirectional);
  EXPECT_THROW(network->forward(torch::zeros({1, 7}, torch::kInt64)), Error);
  EXPECT_THROW(network->forward(torch::zeros({1, 6})), Error);
}

}  // namespace transformer_test
}  // namespace tessera
