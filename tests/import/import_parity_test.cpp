// Published checkpoints as the originals wrote them: what the reader returns against the key lists of case.json.
#include <gtest/gtest.h>

#include "checkpoint/bundle.h"
#include "checkpoint/torch_archive.h"
#include "import/importers.h"
#include "support/fixtures.h"

namespace tessera {
namespace import_parity_test {

using nlohmann::json;
using testing::FixtureCase;

torch::ScalarType type_called(const std::string& name) {
  static const std::map<std::string, torch::ScalarType> types = {
      {"F64", torch::kFloat64}, {"F32", torch::kFloat32}, {"F16", torch::kFloat16}, {"BF16", torch::kBFloat16},
      {"I64", torch::kInt64},   {"I32", torch::kInt32},   {"U8", torch::kUInt8},    {"BOOL", torch::kBool}};
  return types.at(name);
}

TensorMap read_state(const FixtureCase& fixture) {
  return load_torch_archive(fixture.checkpoint()).tensors(fixture.description["checkpoint"].value("keys_prefix", ""));
}

void expect_listed_tensors(const FixtureCase& fixture) {
  const auto tensors = read_state(fixture);
  const auto& keys = fixture.description["checkpoint"]["keys"];
  EXPECT_EQ(tensors.size(), keys.size()) << fixture.name();
  for (const auto& [name, entry] : keys.items()) {
    ASSERT_TRUE(tensors.contains(name)) << fixture.name() << ": " << name;
    const auto& tensor = tensors.at(name);
    EXPECT_EQ(tensor.sizes().vec(), entry[1].get<Shape>()) << fixture.name() << ": " << name;
    EXPECT_EQ(tensor.scalar_type(), type_called(entry[0])) << fixture.name() << ": " << name;
    const bool finite = !tensor.is_floating_point() || tensor.isfinite().all().item<bool>();
    EXPECT_TRUE(finite) << fixture.name() << ": " << name;
  }
  for (const auto& shared : fixture.description["checkpoint"].value("shared_storages", json::array())) {
    const auto& names = shared["tensors"];
    const auto& first = tensors.at(names[0]);
    for (const auto& name : names) EXPECT_TRUE(tensors.at(name).equal(first)) << fixture.name() << ": " << name;
    EXPECT_GT(first.abs().max().item<float>(), 0) << fixture.name();
  }
}

ImportOptions options_of(const FixtureCase& fixture) {
  const auto& h = fixture.hyperparameters();
  ImportOptions options;
  if (h.contains("img_size")) options.image_size = h["img_size"].get<std::int64_t>();
  if (h.contains("bert_n_head")) options.heads = h["bert_n_head"].get<std::int64_t>();
  if (h.contains("latent_shape"))
    options.grid = {h["latent_shape"][1].get<std::int64_t>(), h["latent_shape"][2].get<std::int64_t>()};
  return options;
}

/// What the importer inferred against the numbers of the original's config.
void expect_codec(const FixtureCase& fixture, const ImportedCodec& codec, const json& base, const json& multipliers,
                  const json& blocks, const json& attention, std::int64_t resolution) {
  const auto& config = codec.config;
  EXPECT_EQ(config["tessera"]["base_channels"], base) << fixture.name();
  EXPECT_EQ(config["layers_per_block"], blocks) << fixture.name();
  EXPECT_EQ(config["sample_size"], resolution) << fixture.name();
  ASSERT_EQ(config["block_out_channels"].size(), multipliers.size()) << fixture.name();
  const auto levels = multipliers.size();
  for (std::size_t level = 0; level < levels; ++level) {
    EXPECT_EQ(config["block_out_channels"][level], base.get<int>() * multipliers[level].get<int>());
    const bool attends = std::find(attention.begin(), attention.end(), json(resolution >> level)) != attention.end();
    EXPECT_EQ(config["down_block_types"][level], attends ? "AttnDownEncoderBlock2D" : "DownEncoderBlock2D");
    EXPECT_EQ(config["up_block_types"][levels - 1 - level], attends ? "AttnUpDecoderBlock2D" : "UpDecoderBlock2D");
  }
  EXPECT_NO_THROW(match_parameters(codec.tensors, codec_parameter_shapes(config), fixture.name()));
}

void expect_unleashing_codec(const FixtureCase& fixture) {
  expect_listed_tensors(fixture);
  const auto imported = import_checkpoint(fixture.checkpoint(), options_of(fixture));
  EXPECT_EQ(imported.importer, "unleashing-vqgan");
  ASSERT_TRUE(imported.codec) << fixture.name();
  const auto& h = fixture.hyperparameters();
  expect_codec(fixture, *imported.codec, h["nf"], h["ch_mult"], h["res_blocks"], h["attn_resolutions"], h["img_size"]);
  const auto& config = imported.codec->config;
  EXPECT_EQ(config["num_vq_embeddings"], h["codebook_size"]);
  EXPECT_EQ(config["vq_embed_dim"], h["emb_dim"]);
  EXPECT_EQ(config["tessera"]["quantizer"], h["quantizer"]);
  EXPECT_EQ(config["tessera"]["decoder_layers_per_block"], h["res_blocks"]);
  EXPECT_FALSE(config["tessera"]["final_activation"].get<bool>());
  EXPECT_TRUE(imported.codec->discriminator.contains("main.0.weight"));
  const auto state = read_state(fixture);
  EXPECT_TRUE(imported.codec->tensors.at("encoder.conv_in.weight").equal(state.at("ae.encoder.blocks.0.weight")));
  EXPECT_TRUE(imported.codec->tensors.at("decoder.mid_block.attentions.0.to_out.0.weight")
                  .equal(state.at("ae.generator.blocks.2.proj_out.weight").flatten(1)));
}

TEST(Parity, ImportUnleashingVqgan) {
  TESSERA_FOR_EACH_CASE(fixture, "unleashing-vqgan") expect_unleashing_codec(fixture);
}

TEST(Parity, ImportUnleashingVqganGumbel) {
  TESSERA_FOR_EACH_CASE(fixture, "unleashing-vqgan-gumbel") expect_unleashing_codec(fixture);
}

void expect_prior(const FixtureCase& fixture, bool causal) {
  expect_listed_tensors(fixture);
  const auto imported = import_checkpoint(fixture.checkpoint(), options_of(fixture));
  EXPECT_EQ(imported.importer, causal ? "unleashing-autoregressive" : "unleashing-absorbing");
  ASSERT_TRUE(imported.denoiser) << fixture.name();
  const auto& h = fixture.hyperparameters();
  const auto& ours = imported.denoiser->config["tessera"];
  EXPECT_EQ(ours["kind"], causal ? "autoregressive" : "bidirectional");
  EXPECT_EQ(ours["codebook_size"], h["codebook_size"]);
  EXPECT_EQ(ours["width"], h["bert_n_emb"]);
  EXPECT_EQ(ours["layers"], h["bert_n_layers"]);
  EXPECT_EQ(ours["heads"], h["bert_n_head"]);
  EXPECT_EQ(ours["grid"], json({h["latent_shape"][1], h["latent_shape"][2]}));
  const auto& process = imported.denoiser->scheduler["tessera"];
  EXPECT_EQ(process["process"], causal ? "autoregressive" : "absorbing");
  if (!causal) {
    EXPECT_EQ(process["total_steps"], h["total_steps"]);
    EXPECT_TRUE(imported.denoiser->training.contains("Lt_history"));
  }
  // The rows of the joined projection are query, key, value.
  const auto state = read_state(fixture);
  const std::string prefix = causal ? "net." : "_denoise_fn.";
  const auto pieces = imported.denoiser->tensors.at("blocks.0.attention.qkv.weight").chunk(3, 0);
  EXPECT_TRUE(pieces[0].equal(state.at(prefix + "blocks.0.attn.query.weight")));
  EXPECT_TRUE(pieces[1].equal(state.at(prefix + "blocks.0.attn.key.weight")));
  EXPECT_TRUE(pieces[2].equal(state.at(prefix + "blocks.0.attn.value.weight")));
  EXPECT_TRUE(imported.denoiser->tensors.at("position_embedding").equal(state.at(prefix + "pos_emb")[0]));
}

TEST(Parity, ImportUnleashingAbsorbing) {
  TESSERA_FOR_EACH_CASE(fixture, "unleashing-absorbing") expect_prior(fixture, false);
}

TEST(Parity, ImportUnleashingAutoregressive) {
  TESSERA_FOR_EACH_CASE(fixture, "unleashing-autoregressive") expect_prior(fixture, true);
}

void expect_taming(const FixtureCase& fixture) {
  expect_listed_tensors(fixture);
  ImportOptions options;
  const auto config_name = fixture.description["checkpoint"].value("config", "");
  if (!config_name.empty()) options.config = fixture.folder / config_name;
  const auto imported = import_checkpoint(fixture.checkpoint(), options);
  EXPECT_EQ(imported.importer, "taming-vqgan");
  ASSERT_TRUE(imported.codec) << fixture.name();
  const auto& h = fixture.hyperparameters()["config"];
  const auto& network = h["ddconfig"];
  expect_codec(fixture, *imported.codec, network["ch"], network["ch_mult"], network["num_res_blocks"],
               network["attn_resolutions"], network["resolution"]);
  const auto& config = imported.codec->config;
  EXPECT_EQ(config["num_vq_embeddings"], h["n_embed"]);
  EXPECT_EQ(config["vq_embed_dim"], h["embed_dim"]);
  EXPECT_EQ(config["latent_channels"], network["z_channels"]);
  EXPECT_EQ(config["tessera"]["decoder_layers_per_block"], network["num_res_blocks"].get<int>() + 1);
  EXPECT_EQ(config["tessera"]["pixel_range"], "symmetric");
  EXPECT_TRUE(config["tessera"]["final_activation"].get<bool>());
  // up_blocks count from the coarsest level, the original's decoder.up from the finest.
  const auto state = read_state(fixture);
  const auto coarsest = network["ch_mult"].size() - 1;
  EXPECT_TRUE(imported.codec->tensors.at("decoder.up_blocks.0.resnets.0.conv1.weight")
                  .equal(state.at("decoder.up." + std::to_string(coarsest) + ".block.0.conv1.weight")));
}

TEST(Parity, ImportTamingVqmodel) {
  TESSERA_FOR_EACH_CASE(fixture, "taming-vqmodel") expect_taming(fixture);
}

}  // namespace import_parity_test
}  // namespace tessera
