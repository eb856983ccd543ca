// Importers on checkpoints built from a config: every layout, what they report when something is missing or too much.
#include "import/importers.h"

#include <gtest/gtest.h>

#include "checkpoint/bundle.h"
#include "checkpoint/tensor_mapping.h"
#include "checkpoint/torch_archive.h"
#include "checkpoint/torch_writer.h"
#include "denoiser/transformer.h"
#include "support/fixtures.h"

namespace tessera {
namespace importers_test {

using nlohmann::json;
using testing::fails_with;
using testing::TemporaryFolder;

json hub_config() {
  return {{"_class_name", "VQModel"},
          {"act_fn", "silu"},
          {"in_channels", 3},
          {"out_channels", 3},
          {"latent_channels", 6},
          {"vq_embed_dim", 5},
          {"num_vq_embeddings", 16},
          {"norm_num_groups", 4},
          {"sample_size", 32},
          {"block_out_channels", {8, 16, 24}},
          {"layers_per_block", 1},
          {"down_block_types", {"DownEncoderBlock2D", "DownEncoderBlock2D", "AttnDownEncoderBlock2D"}},
          {"up_block_types", {"AttnUpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"}}};
}

TensorMap tensors_of(const ShapeMap& shapes) {
  TensorMap tensors;
  float value = 0;
  for (const auto& [name, shape] : shapes) tensors.emplace(name, torch::full(shape, value += 1));
  return tensors;
}

std::string replaced(std::string text, const std::string& piece, const std::string& other) {
  const auto at = text.find(piece);
  return at == std::string::npos ? text : text.replace(at, piece.size(), other);
}

/// The names of hub files of 2022.
std::string old_name(const std::string& name) {
  if (name.find(".attentions.") == std::string::npos) return name;
  return replaced(replaced(replaced(replaced(name, ".to_q.", ".query."), ".to_k.", ".key."), ".to_v.", ".value."),
                  ".to_out.0.", ".proj_attn.");
}

TEST(HubImporter, ReadsOldAndNewAttentionNames) {
  const auto config = hub_config();
  const auto tensors = tensors_of(codec_parameter_shapes(config));
  TensorMap old;
  for (const auto& [name, tensor] : tensors) {
    // Files converted from the original keep 1x1 convolutions.
    const bool linear = tensor.dim() == 2 && name.find(".attentions.0.to_") != std::string::npos;
    old.emplace(old_name(name), linear ? tensor.view({tensor.size(0), tensor.size(1), 1, 1}) : tensor);
  }
  ASSERT_TRUE(old.contains("encoder.mid_block.attentions.0.proj_attn.weight"));
  for (const auto& file : {tensors, old}) {
    const auto codec = import_hub_codec(file, config, "hub");
    ASSERT_EQ(codec.tensors.size(), tensors.size());
    for (const auto& [name, tensor] : tensors) EXPECT_TRUE(codec.tensors.at(name).equal(tensor)) << name;
  }
}

TEST(HubImporter, ReadsAPipelineFolder) {
  const TemporaryFolder folder;
  const auto tensors = tensors_of(codec_parameter_shapes(hub_config()));
  folder.write("pipeline/vqvae/config.json", hub_config().dump());
  folder.write("pipeline/model_index.json",
               R"({"_class_name":"VQDiffusionPipeline","vqvae":["diffusers","VQModel"],"safety_checker":[null,null]})");
  save_safetensors(folder.path() / "pipeline/vqvae/diffusion_pytorch_model.safetensors", tensors);
  const auto imported = import_checkpoint(folder.path() / "pipeline");
  EXPECT_EQ(imported.importer, "hub-vqmodel");
  EXPECT_EQ(imported.codec->tensors.size(), tensors.size());
  const auto bundle = load_bundle(folder.path() / "pipeline");
  ASSERT_TRUE(bundle.codec);
  EXPECT_FALSE(bundle.denoiser);
  EXPECT_TRUE(load_bundle(folder.path() / "pipeline/vqvae").codec);
}

TEST(HubImporter, RefusesOtherNetworksOfTheSameClass) {
  const auto tensors = tensors_of(codec_parameter_shapes(hub_config()));
  const auto with = [&](const char* field, const json& value) {
    auto config = hub_config();
    config[field] = value;
    return [config, &tensors] { import_hub_codec(tensors, config, "hub"); };
  };
  EXPECT_TRUE(fails_with(with("norm_type", "spatial"), {"hub", "norm_type", "spatial"}));
  EXPECT_TRUE(fails_with(with("act_fn", "relu"), {"act_fn"}));
  EXPECT_TRUE(fails_with(with("_class_name", "AutoencoderKL"), {"AutoencoderKL", "VQModel"}));
  EXPECT_TRUE(fails_with(with("mid_block_add_attention", false), {"mid_block.attentions"}));
  EXPECT_TRUE(fails_with(with("block_out_channels", json::array()), {"block_out_channels"}));
  EXPECT_TRUE(fails_with(with("block_out_channels", {8, -1, 8}), {"block_out_channels", "-1"}));
  EXPECT_TRUE(fails_with(with("layers_per_block", 1 << 30), {"layers_per_block"}));
  EXPECT_TRUE(fails_with(with("layers_per_block", "many"), {"layers_per_block"}));
  EXPECT_TRUE(fails_with(with("down_block_types", {"CrossAttnDownBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"}),
                         {"CrossAttnDownBlock2D"}));
  EXPECT_TRUE(fails_with(with("up_block_types", 3), {"up_block_types"}));
  EXPECT_TRUE(fails_with(with("num_vq_embeddings", 17), {"quantize.embedding.weight [16, 5] (expected [17, 5])"}));
}

TEST(Importers, ReportEverythingMissingUnexpectedAndMisshapenAtOnce) {
  auto tensors = tensors_of(codec_parameter_shapes(hub_config()));
  tensors.erase("encoder.conv_in.weight");
  tensors.erase("decoder.conv_out.bias");
  tensors.emplace("surplus", torch::zeros({7}));
  tensors["quant_conv.bias"] = torch::zeros({6});
  EXPECT_TRUE(fails_with([&] { import_hub_codec(tensors, hub_config(), "file.bin"); },
                         {"file.bin", "missing: decoder.conv_out.bias [3], encoder.conv_in.weight [8, 3, 3, 3]",
                          "unexpected: surplus [7]", "quant_conv.bias [6] (expected [5])"}));
}

TensorMap state_of(const testing::FixtureCase& fixture) {
  return load_torch_archive(fixture.checkpoint()).tensors();
}

TEST(UnleashingImporter, NamesWhatIsMissingUnderTheFilesNames) {
  TESSERA_FOR_EACH_CASE(fixture, "unleashing-vqgan") {
    auto state = state_of(fixture);
    state.erase("ae.encoder.blocks.1.norm2.bias");
    state.emplace("ae.extra", torch::zeros({2, 2}));
    EXPECT_TRUE(fails_with([&] { import_unleashing_codec(state, {}, "v.th"); },
                           {"v.th", "missing: ae.encoder.blocks.1.norm2.bias", "unexpected: ae.extra [2, 2]"}));
    state = state_of(fixture);
    for (auto entry = state.begin(); entry != state.end();)
      entry = entry->first.starts_with("ae.generator.blocks.2.") ? state.erase(entry) : std::next(entry);
    EXPECT_TRUE(fails_with([&] { import_unleashing_codec(state, {}, "v.th"); }, {"v.th", "ae.generator.blocks."}));
    // The perceptual network, the discriminator and the probabilistic head may be absent.
    state = state_of(fixture);
    for (auto entry = state.begin(); entry != state.end();) {
      const bool extra = !entry->first.starts_with("ae.") || entry->first.starts_with("ae.generator.logsigma.");
      entry = extra ? state.erase(entry) : std::next(entry);
    }
    const auto codec = import_unleashing_codec(state, {}, "v.th");
    EXPECT_FALSE(codec.config["tessera"]["logsigma_head"].get<bool>());
    EXPECT_TRUE(codec.discriminator.empty());
    EXPECT_TRUE(codec.image_size_assumed);
    EXPECT_EQ(codec.config["sample_size"], 256);
  }
}

TEST(UnleashingImporter, HeadsAndGridAreAskedForWhereTheyCannotBeInferred) {
  TESSERA_FOR_EACH_CASE(fixture, "unleashing-absorbing") {
    const auto state = state_of(fixture);
    const auto width = state.at("_denoise_fn.head.weight").size(1);
    const auto cells = state.at("_denoise_fn.pos_emb").size(1);
    ImportOptions options;
    options.grid = {1, cells};
    if (width % 64 != 0) {
      EXPECT_TRUE(fails_with([&] { import_unleashing_absorbing(state, options, "a.th"); },
                             {"a.th", std::to_string(width), "--heads"}));
    }
    options.heads = width + 1;
    EXPECT_TRUE(fails_with([&] { import_unleashing_absorbing(state, options, "a.th"); }, {"heads do not divide"}));
    options.heads = 1;
    EXPECT_EQ(import_unleashing_absorbing(state, options, "a.th").config["tessera"]["grid"], json({1, cells}));
    options.grid = {cells, cells};
    EXPECT_TRUE(
        fails_with([&] { import_unleashing_absorbing(state, options, "a.th"); }, {"a grid of", std::to_string(cells)}));
    options.grid.reset();
    const auto side = static_cast<std::int64_t>(std::lround(std::sqrt(static_cast<double>(cells))));
    if (side * side != cells) {
      EXPECT_TRUE(fails_with([&] { import_unleashing_absorbing(state, options, "a.th"); }, {"no square", "--grid"}));
    }
  }
}

TEST(UnleashingImporter, HeadsOf64AndASquareGridAreAssumed) {
  TensorMap file = {{"_denoise_fn.tok_emb.weight", torch::randn({11, 128})},
                    {"_denoise_fn.pos_emb", torch::randn({1, 16, 128})},
                    {"_denoise_fn.start_tok", torch::zeros({1, 1, 128})},
                    {"_denoise_fn.head.weight", torch::randn({10, 128})}};
  const auto linear = [&](const std::string& name, std::int64_t in, std::int64_t out) {
    file.emplace("_denoise_fn." + name + ".weight", torch::randn({out, in}));
    file.emplace("_denoise_fn." + name + ".bias", torch::randn({out}));
  };
  for (const char* name : {"blocks.0.attn.query", "blocks.0.attn.key", "blocks.0.attn.value", "blocks.0.attn.proj"})
    linear(name, 128, 128);
  linear("blocks.0.mlp.0", 128, 512);
  linear("blocks.0.mlp.2", 512, 128);
  for (const char* name : {"blocks.0.ln1", "blocks.0.ln2", "ln_f"}) {
    file.emplace("_denoise_fn." + std::string(name) + ".weight", torch::randn({128}));
    file.emplace("_denoise_fn." + std::string(name) + ".bias", torch::randn({128}));
  }
  const auto denoiser = import_unleashing_absorbing(file, {}, "a.th");
  EXPECT_EQ(denoiser.config["tessera"]["heads"], 2);
  EXPECT_EQ(denoiser.config["tessera"]["grid"], json({4, 4}));
  EXPECT_EQ(denoiser.scheduler["tessera"]["total_steps"], 16);
  EXPECT_EQ(denoiser.assumptions.size(), 3u);
  EXPECT_NO_THROW(
      match_parameters(denoiser.tensors, transformer_shapes(TransformerOptions::from_config(denoiser.config)), "a"));
}

TEST(TamingImporter, ComparesTheYamlWithTheTensors) {
  TESSERA_FOR_EACH_CASE(fixture, "taming-vqmodel") {
    const auto state = load_torch_archive(fixture.checkpoint()).tensors("state_dict");
    const auto right =
        read_taming_config(fixture.folder / fixture.description["checkpoint"]["config"].get<std::string>());
    EXPECT_NO_THROW(import_taming_codec(state, right, {}, "t.ckpt"));
    auto wrong = right;
    wrong["n_embed"] = 7;
    wrong["ddconfig"]["ch"] = 8;
    wrong["ddconfig"]["attn_resolutions"] = json::array();
    EXPECT_TRUE(fails_with([&] { import_taming_codec(state, wrong, {}, "t.ckpt"); },
                           {"t.ckpt", "n_embed is 7 in the yaml", "ch is 8 in the yaml", "attention"}));
    wrong = right;
    wrong["ddconfig"]["double_z"] = true;
    EXPECT_TRUE(fails_with([&] { import_taming_codec(state, wrong, {}, "t.ckpt"); }, {"double_z"}));
    EXPECT_TRUE(fails_with([&] { import_taming_codec(state, json::object(), {}, "t.ckpt"); }, {"ddconfig"}));
    EXPECT_TRUE(import_taming_codec(state, nullptr, {}, "t.ckpt").image_size_assumed);
  }
}

/// Turns the fixture's VQModel into a GumbelVQ and an EMAVQ: only the quantiser's tensors differ.
TEST(TamingImporter, ReadsGumbelAndEmaQuantisers) {
  TESSERA_FOR_EACH_CASE(fixture, "taming-vqmodel") {
    auto state = load_torch_archive(fixture.checkpoint()).tensors("state_dict");
    const auto codebook = state.at("quantize.embedding.weight");
    state.emplace("quantize.embedding.cluster_size", torch::ones({codebook.size(0)}));
    state.emplace("quantize.embedding.embed_avg", codebook.clone());
    EXPECT_EQ(import_taming_codec(state, nullptr, {}, "t").config["tessera"]["quantizer"], "ema");
    state.erase("quantize.embedding.cluster_size");
    state.erase("quantize.embedding.embed_avg");
    state.erase("quantize.embedding.weight");
    state.emplace("quantize.embed.weight", codebook);
    state.emplace("quantize.proj.weight", torch::ones({codebook.size(0), codebook.size(1), 1, 1}));
    state.emplace("quantize.proj.bias", torch::ones({codebook.size(0)}));
    const auto codec = import_taming_codec(state, nullptr, {}, "t");
    EXPECT_EQ(codec.config["tessera"]["quantizer"], "gumbel");
    EXPECT_TRUE(codec.tensors.at("quantize.embedding.weight").equal(codebook));
    EXPECT_EQ(codec.tensors.at("quantize.proj.weight").dim(), 4);
  }
}

TEST(TamingImporter, RefusesBrokenAndHostileYaml) {
  const TemporaryFolder folder;
  const auto yaml_fails = [&](const std::string& text, const std::string& word) {
    const auto path = folder.write("model.yaml", text);
    return fails_with([&] { read_taming_config(path); }, {"model.yaml", word});
  };
  EXPECT_TRUE(yaml_fails("", "model.params"));
  EXPECT_TRUE(yaml_fails("model: 3", "model.params"));
  EXPECT_TRUE(yaml_fails("model: {params: {", "malformed"));
  EXPECT_TRUE(yaml_fails("a: [1, 2\nb: }", "malformed"));
  EXPECT_TRUE(yaml_fails(std::string(40, '[') + std::string(40, ']'), "nested"));
  EXPECT_TRUE(yaml_fails(std::string(300 << 10, ' '), "expected at most"));
  std::string laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 20; ++i) {
    laughs += fmt::format("a{0}: &a{0} [*a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}]\n", i, i - 1);
  }
  EXPECT_TRUE(yaml_fails(laughs, "too large"));
  EXPECT_EQ(read_taming_config(folder.write(
                "m.yaml", "model:\n  params: {a: 1, b: 4.5e-06, c: true, d: text, e: [1, 2], f: null, g: '8'}\n")),
            json({{"a", 1}, {"b", 4.5e-06}, {"c", true}, {"d", "text"}, {"e", {1, 2}}, {"f", nullptr}, {"g", "8"}}));
}

TEST(Importers, OneThatIsRegisteredIsFoundByItsOwnSign) {
  const TemporaryFolder folder;
  const auto config = hub_config();
  importers().add({"throw-away", "a codec whose tensors stand under 'mine.'",
                   [](ImportSource& source) { return match_by(source, "mine."); },
                   [](ImportSource& source) {
                     ImportedCheckpoint imported;
                     imported.codec = import_hub_codec(strip_prefix(source.tensors(), "mine."), hub_config(), "mine");
                     return imported;
                   }});
  TensorMap tensors;
  for (const auto& [name, tensor] : tensors_of(codec_parameter_shapes(config))) tensors["mine." + name] = tensor;
  save_safetensors(folder.path() / "x.safetensors", tensors);
  // "encoder.down_blocks." stands there as well, under a prefix: the whole match goes before.
  EXPECT_EQ(import_checkpoint(folder.path() / "x.safetensors").importer, "throw-away");
  save_safetensors(folder.path() / "y.safetensors", {{"a", torch::zeros({1})}});
  EXPECT_TRUE(fails_with([&] { import_checkpoint(folder.path() / "y.safetensors"); }, {"throw-away"}));
  importers().remove("throw-away");
}

TEST(Importers, WhatNoNetworkCanTakeIsRefusedBeforeABundleIsWritten) {
  importers().add({"broken", "a codec that lacks a tensor",
                   [](ImportSource& source) { return match_by(source, "broken."); },
                   [](ImportSource&) {
                     ImportedCheckpoint imported;
                     imported.codec = ImportedCodec{};
                     imported.codec->config = hub_config();
                     imported.codec->tensors = tensors_of(codec_parameter_shapes(hub_config()));
                     imported.codec->tensors.erase(imported.codec->tensors.begin());
                     return imported;
                   }});
  const TemporaryFolder folder;
  save_safetensors(folder.path() / "x.safetensors", {{"broken.a", torch::zeros({1})}});
  EXPECT_TRUE(fails_with([&] { import_checkpoint(folder.path() / "x.safetensors"); }, {"x.safetensors", "missing"}));
  importers().remove("broken");
}

TEST(Importers, UnknownFilesAreRefusedWithTheListOfImporters) {
  const TemporaryFolder folder;
  save_safetensors(folder.path() / "x.safetensors", {{"a", torch::zeros({1})}});
  EXPECT_TRUE(fails_with([&] { import_checkpoint(folder.path() / "x.safetensors"); },
                         {"x.safetensors", "unleashing-vqgan", "taming-vqgan", "hub-vqmodel"}));
  EXPECT_TRUE(fails_with([&] { import_checkpoint(folder.path()); }, {"config.json"}));
  EXPECT_TRUE(fails_with([&] { import_checkpoint(folder.path() / "nothing"); }, {"nothing"}));
}

}  // namespace importers_test
}  // namespace tessera
