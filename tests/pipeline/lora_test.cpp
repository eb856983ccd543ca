/// LoRA files of every naming against weights merged in float64 by peft's formula, and what is refused.
#include "checkpoint/lora.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>

#include "pipeline/pipeline.h"
#include "runtime/error.h"
#include "support/fixtures.h"
#include "support/scratch.h"

namespace tessera {
namespace lora_test {

namespace fs = std::filesystem;

fs::path model_of(const testing::FixtureCase& fixture) {
  return fixture.folder / fixture.description.at("model").get<std::string>();
}

const torch::Tensor& weight_of(const Bundle& bundle, const std::string& part, const std::string& name) {
  return (part == "transformer" ? bundle.denoiser : bundle.text_encoder)->tensors.at(name);
}

TEST(Parity, LoraMergesAsPeft) {
  TESSERA_FOR_EACH_CASE(fixture, "lora") {
    SCOPED_TRACE(fixture.name());
    const double weight = fixture.description.at("weight");
    for (const auto& [name, file] : fixture.description.at("files").items()) {
      SCOPED_TRACE(name);
      const auto before = load_bundle(model_of(fixture));
      auto bundle = load_bundle(model_of(fixture));
      const auto changed = apply_lora(bundle, {fixture.folder / (name + ".safetensors"), weight});
      const auto kind = file.at("expected").get<std::string>() + ".";
      std::int64_t compared = 0;
      for (const auto& part : file.at("parts")) {
        const auto prefix = kind + part.get<std::string>() + ".";
        for (const auto& [key, expected] : fixture.expected) {
          if (!key.starts_with(prefix)) continue;
          const auto& got = weight_of(bundle, part, key.substr(prefix.size()));
          EXPECT_TRUE(torch::allclose(got.to(torch::kFloat64), expected, 1e-6, 1e-6)) << key;
          EXPECT_FALSE(
              torch::allclose(weight_of(before, part, key.substr(prefix.size())).to(torch::kFloat64), expected))
              << key;
          ++compared;
        }
      }
      EXPECT_EQ(compared, changed);
      EXPECT_GT(compared, 0);
      // All others are as they were.
      std::int64_t others = 0;
      for (const auto& [key, tensor] : before.denoiser->tensors)
        others += tensor.equal(bundle.denoiser->tensors.at(key)) ? 0 : 1;
      for (const auto& [key, tensor] : before.text_encoder->tensors)
        others += tensor.equal(bundle.text_encoder->tensors.at(key)) ? 0 : 1;
      EXPECT_EQ(others, changed);
    }
  }
}

/// Ones of some shapes in a file of the scratch folder.
fs::path file_with(const std::map<std::string, std::vector<std::int64_t>>& shapes) {
  TensorMap tensors;
  for (const auto& [name, shape] : shapes) tensors[name] = torch::ones(shape);
  const auto file = testing::scratch_folder("lora") / "style.safetensors";
  save_safetensors(file, tensors);
  return file;
}

std::string refusal(const Bundle& bundle, const std::map<std::string, std::vector<std::int64_t>>& shapes) {
  auto own = bundle;
  try {
    apply_lora(own, {file_with(shapes), 1});
  } catch (const Error& error) {
    for (const auto& [name, tensor] : bundle.denoiser->tensors)
      EXPECT_TRUE(own.denoiser->tensors.at(name).is_same(tensor)) << "applied in part: " << name;
    return error.what();
  }
  return "applied";
}

void expect_says(const std::string& said, std::initializer_list<const char*> words) {
  for (const char* word : words) EXPECT_NE(said.find(word), std::string::npos) << said << " says nothing of " << word;
  EXPECT_EQ(said.find('\n'), std::string::npos) << said;
}

TEST(Lora, WhatCannotBeAppliedIsNamedAndNothingIsApplied) {
  const auto bundle = load_bundle(testing::fixtures_root() / "amused-pipeline");
  const auto& weight = bundle.denoiser->tensors.at("transformer_layers.0.attn1.to_q.weight");
  const auto out = weight.size(0), in = weight.size(1);
  const std::string q = "transformer.transformer_layers.0.attn1.to_q";
  const std::map<std::string, std::vector<std::int64_t>> good = {{q + ".lora_A.weight", {2, in}},
                                                                 {q + ".lora_B.weight", {out, 2}}};
  EXPECT_EQ(refusal(bundle, good), "applied");
  const auto with = [&](std::map<std::string, std::vector<std::int64_t>> more) {
    more.insert(good.begin(), good.end());
    return refusal(bundle, more);
  };
  expect_says(with({{q + ".lora_magnitude_vector.weight", {out}}}), {"DoRA", "lora_magnitude_vector"});
  expect_says(with({{q + ".dora_scale", {out, 1}}}), {"DoRA", "dora_scale"});
  expect_says(with({{q + ".hada_w1_a", {out, 2}}}), {"LoHa", "hada_w1_a"});
  expect_says(with({{q + ".lokr_w1", {2, 2}}}), {"LoKr"});
  expect_says(with({{q + ".lora_mid.weight", {2, 2, 3, 3}}}), {"LoCon"});
  expect_says(with({{q + ".diff", {out, in}}}), {"difference"});
  expect_says(with({{q + ".scalar", {1}}}), {"no tensor of a LoRA", ".scalar"});
  expect_says(with({{"transformer.down_block.res_blocks.0.depthwise.lora_A.weight", {2, 1, 3, 3}},
                    {"transformer.down_block.res_blocks.0.depthwise.lora_B.weight", {24, 2, 1, 1}}}),
              {"LoCon", "depthwise"});
  expect_says(with({{"transformer.transformer_layers.99.attn1.to_q.lora_A.weight", {2, in}},
                    {"transformer.transformer_layers.99.attn1.to_q.lora_B.weight", {out, 2}}}),
              {"no such layer", "transformer_layers.99"});
  expect_says(with({{"transformer.transformer_layers.0.attn1.to_k.lora_A.weight", {2, in}}}),
              {"has no lora_B", "to_k"});
  expect_says(refusal(bundle, {{q + ".lora_A.weight", {2, in + 1}}, {q + ".lora_B.weight", {out, 2}}}),
              {"expected [rank, 40]", "to_q"});
  expect_says(refusal(bundle, {{q + ".lora_A.weight", {2, in}}, {q + ".lora_B.weight", {out, 3}}}), {"expected"});
}

TEST(Lora, AFileForAnotherModelIsRecognisedAndNamed) {
  const auto bundle = load_bundle(testing::fixtures_root() / "amused-pipeline");
  const auto of = [&](const std::string& layer, const char* down, const char* up) {
    return refusal(bundle, {{layer + down, {4, 320}}, {layer + up, {320, 4}}});
  };
  expect_says(of("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q", ".lora_down.weight",
                 ".lora_up.weight"),
              {"Stable Diffusion"});
  expect_says(of("lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q", ".lora_down.weight", ".lora_up.weight"),
              {"Stable Diffusion XL"});
  expect_says(of("transformer.single_transformer_blocks.0.attn.to_q", ".lora_A.weight", ".lora_B.weight"), {"FLUX"});
  expect_says(of("base_model.model.model.layers.0.self_attn.q_proj", ".lora_A.weight", ".lora_B.weight"),
              {"language model"});
  const auto plain = load_bundle(testing::fixtures_root() / "vq-diffusion-pipeline");
  expect_says(refusal(plain, {{"transformer.transformer_layers.0.attn1.to_q.lora_A.weight", {4, 64}},
                              {"transformer.transformer_layers.0.attn1.to_q.lora_B.weight", {64, 4}}}),
              {"aMUSEd"});
}

TEST(Lora, TheAlphaOfPeftsConfigurationCounts) {
  auto bundle = load_bundle(testing::fixtures_root() / "amused-pipeline");
  const auto weight = bundle.denoiser->tensors.at("transformer_layers.0.attn1.to_q.weight");
  const auto folder = testing::scratch_folder("peft");
  save_safetensors(
      folder / "adapter_model.safetensors",
      {{"base_model.model.transformer_layers.0.attn1.to_q.lora_A.weight", torch::ones({4, weight.size(1)})},
       {"base_model.model.transformer_layers.0.attn1.to_q.lora_B.weight", torch::ones({weight.size(0), 4})}});
  const auto change = [&](const std::string& config) {
    std::ofstream(folder / "adapter_config.json") << config;
    auto own = bundle;
    apply_lora(own, {folder, 0.5});
    return (own.denoiser->tensors.at("transformer_layers.0.attn1.to_q.weight") - weight).mean().item<double>();
  };
  EXPECT_NEAR(change(R"({"peft_type": "LORA", "r": 4, "lora_alpha": 8})"), 0.5 * 8 / 4 * 4, 1e-5);
  EXPECT_NEAR(change(R"({"peft_type": "LORA", "r": 4, "lora_alpha": 8, "use_rslora": true})"), 0.5 * 8 / 2 * 4, 1e-5);
  EXPECT_THROW(change(R"({"peft_type": "LORA", "r": 4, "lora_alpha": 8, "use_dora": true})"), Error);
  fs::remove_all(folder);
}

TEST(Lora, TheWeightStandsBehindTheLastColon) {
  EXPECT_EQ(parse_lora("a.safetensors").weight, 1);
  EXPECT_EQ(parse_lora("a.safetensors:0.8").weight, 0.8);
  EXPECT_EQ(parse_lora("a.safetensors:0.8").file, "a.safetensors");
  EXPECT_EQ(parse_lora("c:/a:-1").weight, -1);
  EXPECT_EQ(parse_lora("a:b.safetensors").file, "a:b.safetensors");
  EXPECT_THROW(parse_lora("a.safetensors:100"), UsageError);
  EXPECT_THROW(parse_lora(""), UsageError);
}

TEST(Lora, AppliedWhileLoadingIsAsMergedBefore) {
  TESSERA_FOR_EACH_CASE(fixture, "lora") {
    const LoraChoice choice{fixture.folder / "diffusers.safetensors", 0.8};
    auto merged = load_bundle(model_of(fixture));
    const auto size = apply_lora(merged, choice);
    EXPECT_GT(size, 0);
    const auto folder = testing::scratch_folder("merged");
    save_bundle(folder, merged);
    PipelineOptions options;
    options.loras = {choice};
    auto applied = Pipeline::load(model_of(fixture), options), saved = Pipeline::load(folder),
         plain = Pipeline::load(model_of(fixture));
    const auto logits = [](Pipeline& pipeline) {
      PromptOptions prompt;
      prompt.prompt = "a red bus";
      const auto cells = pipeline.prior_network().grid.cells();
      const auto evaluator = pipeline.prior().begin({pipeline.condition_for(prompt)});
      return evaluator->logits(
          {torch::full({1, cells}, pipeline.prior().codebook_size(), torch::kInt64), torch::arange(cells)});
    };
    const torch::NoGradGuard no_grad;
    EXPECT_TRUE(logits(applied).equal(logits(saved)));
    EXPECT_FALSE(logits(applied).equal(logits(plain)));
    fs::remove_all(folder);
  }
}

}  // namespace lora_test
}  // namespace tessera
