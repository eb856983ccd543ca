/// The registry of networks: what a configuration says of one, and that a configuration alone takes no memory.
#include "denoiser/networks.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include "denoiser/conditional_transformer.h"
#include "denoiser/transformer.h"
#include "runtime/error.h"

namespace tessera {
namespace networks_test {

template <typename Function>
std::string message_of(const Function& function) {
  try {
    function();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Networks, SayWhatTheyAcceptByTheirConfigurationAlone) {
  TransformerOptions plain;
  plain.kind = TransformerKind::autoregressive;
  plain.grid = {3, 5};
  const auto causal = network_facts(plain.to_config(), "here");
  EXPECT_TRUE(causal.autoregressive);
  EXPECT_FALSE(causal.sees_time());
  EXPECT_EQ(causal.condition(), "none");
  EXPECT_EQ(causal.grid, (Extent{3, 5}));
  EXPECT_EQ(causal.codebook_size, plain.codebook_size);
  ConditionalOptions told;
  told.heads = 2;
  told.head_width = 8;
  told.total_steps = 7;
  const auto text = network_facts(told.to_config(), "here");
  EXPECT_TRUE(text.sees_time());
  EXPECT_EQ(text.total_steps, 7);
  EXPECT_EQ(text.condition(), "text");
  EXPECT_EQ(text.width, 16);
  told.condition_width = 0;
  told.classes = 4;
  EXPECT_EQ(network_facts(told.to_config(), "here").condition(), "class");
}

TEST(Networks, AnUnknownOneIsRefusedWithThoseThatAreKnown) {
  std::string known;
  for (const auto& entry : networks().entries()) known += (known.empty() ? "" : ", ") + entry.class_name;
  EXPECT_NE(known.find("TesseraTransformer, Transformer2DModel"), std::string::npos) << known;
  for (const auto& [config, found] :
       std::vector<std::pair<nlohmann::json, std::string>>{{{{"_class_name", "UNet2DModel"}}, "UNet2DModel"},
                                                           {nlohmann::json::object(), "missing"},
                                                           {{{"_class_name", 3}}, "no text"},
                                                           {nlohmann::json::array(), "missing"}}) {
    EXPECT_EQ(message_of([&, &config = config] { (void)network_of(config, "m/transformer"); }),
              "m/transformer: _class_name is " + found + ", expected one of " + known);
  }
}

TEST(Networks, AFewBytesOfConfigurationAskForNoMemory) {
  TransformerOptions plain;
  plain.layers = 512;
  plain.width = 1 << 16;
  plain.heads = 512;
  plain.codebook_size = 1 << 20;
  ConditionalOptions told;
  told.layers = 512;
  told.heads = 16;
  told.head_width = 4096;
  told.codebook_size = 1 << 20;
  const auto peak = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;  // KiB
  };
  const auto before = peak();
  for (const auto& config : {plain.to_config(), told.to_config()}) {
    const TensorMap none = {{"something", torch::zeros({2})}};
    const auto said = message_of([&] {
      (void)network_of(config, "m").load({config, none, "m", WeightLoading::share});
    });
    EXPECT_EQ(said.rfind("m: the tensors do not fit; missing: ", 0), 0u) << said.substr(0, 200);
  }
  EXPECT_LT(peak() - before, 256 << 10);
}

TEST(Networks, TensorsThatDoNotFitAreNamed) {
  TransformerOptions options;
  options.codebook_size = 8;
  options.grid = {2, 3};
  options.layers = 1;
  options.heads = 2;
  options.width = 8;
  Transformer network(options, Initialisation::none);
  auto config = options.to_config();
  config["tessera"]["width"] = 12;
  const auto load = [&](const nlohmann::json& with) {
    return message_of([&] { (void)network_of(with, "m").load({with, network->state(), "m", WeightLoading::share}); });
  };
  EXPECT_NE(load(config).find("final_norm.weight [8] (expected [12])"), std::string::npos) << load(config);
  config["tessera"]["grid"] = {1'000'000'000'000, 1'000'000'000'000};
  EXPECT_NE(load(config).find("grid"), std::string::npos) << load(config);
}

/// An autoregressive network of 7 codes on 2x3 cells.
TransformerOptions small_options() {
  TransformerOptions options;
  options.kind = TransformerKind::autoregressive;
  options.codebook_size = 7;
  options.grid = {2, 3};
  options.layers = 2;
  options.heads = 2;
  options.width = 16;
  return options;
}

TEST(Networks, LogitsInOrderAreThoseOfDecoding) {
  const torch::NoGradGuard no_grad;
  auto options = small_options();
  Transformer network(options, Initialisation::framework, 3);
  network->eval();
  const auto tokens = torch::randint(0, 7, {4, 6});
  const auto evaluator = network->begin();
  const auto whole = evaluator->logits_in_order(tokens);
  ASSERT_EQ(whole.sizes(), (torch::IntArrayRef{4, 6, 7}));
  const auto decoding = evaluator->decode(4);
  for (std::int64_t cell = 0; cell < 6; ++cell) {
    const auto one = decoding->advance(cell > 0 ? tokens.select(1, cell - 1) : torch::Tensor());
    EXPECT_LT((one - whole.select(1, cell)).abs().max().item<double>(), 1e-4) << cell;
  }
  options.kind = TransformerKind::bidirectional;
  Transformer other(options, Initialisation::framework, 3);
  EXPECT_THROW((void)other->begin()->logits_in_order(tokens), Error);
}

/// The same, told a class or a text.
Transformer told_network(bool text) {
  auto options = small_options();
  options.classes = text ? 0 : 3;
  options.condition_width = text ? 5 : 0;
  options.condition_length = text ? 4 : 0;
  Transformer network(options, Initialisation::framework, 3);
  network->eval();
  return network;
}

std::vector<Condition> three_conditions(bool text) {
  std::vector<Condition> conditions(3);
  for (std::int64_t i = 0; i < 3; ++i) {
    auto& condition = conditions[static_cast<std::size_t>(i)];
    condition.label = text ? -1 : i;
    if (text) {
      condition.states = torch::randn({4, 5});
      condition.null_states = torch::zeros({4, 5});
    }
  }
  return conditions;
}

TEST(Networks, AnAutoregressiveOneIsToldAClassOrAText) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(1);
  for (const bool text : {false, true}) {
    SCOPED_TRACE(text ? "text" : "class");
    auto network = told_network(text);
    EXPECT_EQ(network_facts(network->options().to_config(), "here").condition(), text ? "text" : "class");
    auto conditions = three_conditions(text);
    const auto tokens = torch::randint(0, 7, {3, 6});
    const auto whole = network->begin(conditions)->logits_in_order(tokens);
    const auto evaluator = network->begin(conditions);
    const auto decoding = evaluator->decode(3);
    for (std::int64_t cell = 0; cell < 6; ++cell) {
      const auto one = decoding->advance(cell > 0 ? tokens.select(1, cell - 1) : torch::Tensor());
      EXPECT_LT((one - whole.select(1, cell)).abs().max().item<double>(), 1e-4) << cell;
    }
    // A row's logits are its own whatever the others are told, and differ by what it is told.
    const auto alone = network->begin({conditions[1]})->logits_in_order(tokens.narrow(0, 1, 1));
    EXPECT_LT((alone[0] - whole[1]).abs().max().item<double>(), 1e-5);
    const auto other = network->begin({conditions[2]})->logits_in_order(tokens.narrow(0, 1, 1));
    EXPECT_GT((other[0] - whole[1]).abs().max().item<double>(), 1e-2);
    // Guidance: g = u + s (c - u), normalised; the rows that are not guided are as they were.
    conditions[0].scale = 2.5;
    const auto guided_evaluator = network->begin(conditions);
    const auto guiding = guided_evaluator->decode(3);
    auto without = conditions[0];
    without.label = without.null_label;
    without.states = without.null_states;
    without.scale = 1;
    const auto u = torch::log_softmax(network->begin({without})->logits_in_order(tokens.narrow(0, 0, 1)), -1);
    const auto c = torch::log_softmax(whole, -1);
    for (std::int64_t cell = 0; cell < 6; ++cell) {
      const double share = cell < 3 ? 1 : 0.5;
      guiding->guide({share, share, share});
      const auto made = guiding->advance(cell > 0 ? tokens.select(1, cell - 1) : torch::Tensor());
      const auto mixed = u[0][cell] + (1 + share * 1.5) * (c[0][cell] - u[0][cell]);
      const auto expected = mixed - mixed.logsumexp(0);
      EXPECT_LT((made[0] - expected).abs().max().item<double>(), 1e-4) << cell;
      EXPECT_LT((made.slice(0, 1) - c.slice(0, 1).select(1, cell)).abs().max().item<double>(), 1e-4) << cell;
    }
  }
  EXPECT_THROW((void)told_network(true)->begin(), Error) << "no text, and nothing that stands for none";
  auto beyond = three_conditions(false);
  beyond[0].label = 3;
  EXPECT_THROW((void)told_network(false)->begin(beyond), Error);
}

}  // namespace networks_test
}  // namespace tessera
