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
  for (const auto& [config, found] :
       std::vector<std::pair<nlohmann::json, std::string>>{{{{"_class_name", "UNet2DModel"}}, "UNet2DModel"},
                                                           {nlohmann::json::object(), "missing"},
                                                           {{{"_class_name", 3}}, "no text"},
                                                           {nlohmann::json::array(), "missing"}}) {
    EXPECT_EQ(message_of([&, &config = config] { (void)network_of(config, "m/transformer"); }),
              "m/transformer: _class_name is " + found + ", expected one of TesseraTransformer, Transformer2DModel");
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

TEST(Networks, LogitsInOrderAreThoseOfDecoding) {
  const torch::NoGradGuard no_grad;
  TransformerOptions options;
  options.kind = TransformerKind::autoregressive;
  options.codebook_size = 7;
  options.grid = {2, 3};
  options.layers = 2;
  options.heads = 2;
  options.width = 16;
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

}  // namespace networks_test
}  // namespace tessera
