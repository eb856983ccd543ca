/// Taming Transformers' GPT, told a class or nothing, against the numbers of the published program.
#include <gtest/gtest.h>

#include "codec/codec.h"
#include "denoiser/networks.h"
#include "import/importers.h"
#include "sampling/fill.h"
#include "sampling/replayed_draws.h"
#include "support/fixtures.h"

namespace tessera {
namespace taming_gpt_parity_test {

using testing::FixtureCase;

struct Imported {
  std::shared_ptr<Denoiser> network;
  Codec codec{nullptr};
  NetworkFacts facts;
};

Imported import_case(const FixtureCase& fixture) {
  const auto imported = import_checkpoint(fixture.checkpoint());
  EXPECT_EQ(imported.importer, "taming-gpt");
  const auto bundle = make_bundle(imported.codec, imported.denoiser);
  Imported result;
  result.facts = network_facts(bundle.denoiser->config, fixture.name());
  result.network = network_of(bundle.denoiser->config, fixture.name())
                       .load({bundle.denoiser->config, bundle.denoiser->tensors, fixture.name()});
  result.codec = Codec(codec_options_from_json(bundle.codec->config));
  result.codec->load(bundle.codec->tensors, fixture.name());
  result.codec->eval();
  return result;
}

/// Of each row, from the case's tensor of classes; one of nothing where it has none.
std::vector<Condition> conditions_of(const FixtureCase& fixture, const std::string& key) {
  if (!fixture.has(key)) return {Condition{}};
  std::vector<Condition> conditions(static_cast<std::size_t>(fixture.tensor(key).size(0)));
  for (std::size_t i = 0; i < conditions.size(); ++i)
    conditions[i].label = fixture.tensor(key)[static_cast<std::int64_t>(i)].item<std::int64_t>();
  return conditions;
}

void expect_codec(const FixtureCase& fixture, Codec codec) {
  const auto latents = codec->latents(fixture.tensor("image"));
  EXPECT_TRUE(fixture.matches("pre_quant", latents));
  EXPECT_TRUE(fixture.matches("codes", codec->quantizer->codes(latents).flatten(1)));
}

torch::Tensor picture_of(Imported& model, const torch::Tensor& codes) {
  const auto grid = codes.view({codes.size(0), model.facts.grid.h, model.facts.grid.w});
  return model.codec->decode_latents(model.codec->quantizer->embed(grid));
}

void expect_logits(const FixtureCase& fixture, Denoiser& network) {
  const auto& codes = fixture.tensor("codes");
  const auto conditions = conditions_of(fixture, "class_label");
  const auto evaluator = network.begin(conditions);
  const auto logits = evaluator->logits_in_order(codes);
  EXPECT_TRUE(fixture.matches("logits", logits));
  const auto decoding = evaluator->decode(codes.size(0));
  std::vector<torch::Tensor> cached;
  for (std::int64_t cell = 0; cell < codes.size(1); ++cell)
    cached.push_back(decoding->advance(cell == 0 ? torch::Tensor() : codes.select(1, cell - 1)));
  EXPECT_TRUE(fixture.matches("logits", torch::stack(cached, 1)));
  // The likelihood is exact: the mean over cells of -log p.
  const auto nll = -torch::log_softmax(logits.to(torch::kFloat64), -1).gather(2, codes.unsqueeze(2)).mean();
  EXPECT_TRUE(fixture.matches("loss", nll.to(torch::kFloat32).view({1})));
}

void expect_prefix(const FixtureCase& fixture, Denoiser& network) {
  const auto& prefix = fixture.tensor("prefix");
  const auto conditions = conditions_of(fixture, "class_label");
  const auto decoding = network.begin(conditions)->decode(prefix.size(0));
  auto logits = decoding->advance({});
  for (std::int64_t cell = 0; cell < prefix.size(1); ++cell) logits = decoding->advance(prefix.select(1, cell));
  EXPECT_TRUE(fixture.matches("logits_after_prefix", logits));
  const auto& settings = fixture.description.at("settings");
  for (const bool nucleus : {false, true}) {
    const auto& run = settings.at(nucleus ? "topkp_run" : "topk_run");
    DrawOptions options;
    options.temperature = run.at("temperature").get<double>();
    options.top_k = run.at("top_k").get<std::int64_t>();
    if (nucleus) options.top_p = run.at("top_p").get<double>();
    EXPECT_TRUE(fixture.matches(nucleus ? "probs_top_k_top_p" : "probs_top_k",
                                testing::truncated(logits, options).to(torch::kFloat32)));
  }
}

void expect_run(const FixtureCase& fixture, Imported& model, const std::string& name) {
  SCOPED_TRACE(name);
  const auto& settings = fixture.description.at("settings").at(name);
  DrawOptions options;
  options.temperature = settings.at("temperature").get<double>();
  options.top_k = settings.at("top_k").get<std::int64_t>();
  options.top_p = settings.value("top_p", 1.0);
  const auto& exponential = fixture.tensor(name.substr(0, name.find('_')) + "_exponential");
  const auto decoding = model.network->begin(conditions_of(fixture, "run_class"))->decode(exponential.size(1));
  std::vector<torch::Tensor> tokens;
  for (std::int64_t cell = 0; cell < exponential.size(0); ++cell) {
    const auto logits = decoding->advance(tokens.empty() ? torch::Tensor() : tokens.back());
    tokens.push_back(testing::drawn_with(logits, exponential[cell], options));
  }
  const auto codes = torch::stack(tokens, 1);
  EXPECT_TRUE(fixture.matches(name + "_codes", codes));
  EXPECT_TRUE(fixture.matches(name + "_image", picture_of(model, codes)));
}

/// Without draws, by `fill`: whole grids, and what completes given cells.
void expect_greedy(const FixtureCase& fixture, Imported& model) {
  FillOptions options;
  options.draw.temperature = 0;
  options.conditions = conditions_of(fixture, "run_class");
  const auto count = fixture.tensor("greedy_codes").size(0);
  const auto& half = fixture.tensor("half_prefix");
  auto codes = torch::full({count, model.facts.grid.cells()}, model.facts.codebook_size, torch::kInt64);
  const auto filled = [&] {
    const TokenGrid grid(codes.view({count, model.facts.grid.h, model.facts.grid.w}), model.facts.codebook_size);
    return fill(grid, *model.network, options).grid.flat();
  };
  EXPECT_TRUE(fixture.matches("greedy_codes", filled()));
  codes.slice(1, 0, half.size(1)).copy_(half);
  EXPECT_TRUE(fixture.matches("greedy_completion", filled()));
}

TEST(Parity, TamingGpt) {
  TESSERA_FOR_EACH_CASE(fixture, "taming-gpt") {
    SCOPED_TRACE(fixture.name());
    const torch::NoGradGuard no_grad;
    auto model = import_case(fixture);
    EXPECT_EQ(model.facts.condition(), fixture.has("class_label") ? "class" : "none");
    EXPECT_EQ(model.facts.grid.cells(), fixture.description.at("cells").get<std::int64_t>());
    expect_codec(fixture, model.codec);
    expect_logits(fixture, *model.network);
    expect_prefix(fixture, *model.network);
    expect_run(fixture, model, "topk_run");
    expect_run(fixture, model, "topkp_run");
    expect_greedy(fixture, model);
  }
}

TEST(TamingGptImporter, NoClassIsTheMeanOfAllAndTheClassMatters) {
  TESSERA_FOR_EACH_CASE(fixture, "taming-gpt") {
    if (!fixture.has("class_label")) continue;
    SCOPED_TRACE(fixture.name());
    const torch::NoGradGuard no_grad;
    const auto model = import_case(fixture);
    const auto codes = fixture.tensor("codes").slice(0, 0, 1);
    Condition first, second;
    first.label = 0;
    second.label = 1;
    const auto logits = [&](const Condition& told) { return model.network->begin({told})->logits_in_order(codes); };
    EXPECT_FALSE(torch::allclose(logits(first), logits(second), 1e-3, 1e-3));
    EXPECT_FALSE(torch::allclose(logits(first), logits({}), 1e-3, 1e-3));
    Condition beyond;
    beyond.label = model.facts.classes;
    EXPECT_THROW((void)logits(beyond), std::runtime_error);
  }
}

}  // namespace taming_gpt_parity_test
}  // namespace tessera
