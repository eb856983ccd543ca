#include "checkpoint/bundle.h"
#include "checkpoint/bundle_record.h"
#include "runtime/atomic_file.h"

#include <gtest/gtest.h>

#include <random>

#include <fstream>

#include "checkpoint/sha256.h"
#include "torch_writer.h"

namespace tessera {
namespace bundle_test {

using nlohmann::json;
using testing::fails_with;
using testing::TemporaryFolder;

TensorMap random_tensors(const ShapeMap& shapes) {
  TensorMap tensors;
  for (const auto& [name, shape] : shapes) tensors.emplace(name, torch::randn(shape));
  return tensors;
}

BundlePart small_codec() {
  const json config = {
      {"_class_name", "VQModel"},
      {"in_channels", 3},
      {"out_channels", 3},
      {"latent_channels", 4},
      {"vq_embed_dim", 4},
      {"num_vq_embeddings", 8},
      {"block_out_channels", {8}},
      {"layers_per_block", 1},
      {"sample_size", 8},
      {"down_block_types", {"DownEncoderBlock2D"}},
      {"up_block_types", {"UpDecoderBlock2D"}},
      {"tessera", {{"format", 1}, {"quant_convolutions", false}, {"logsigma_head", true}, {"quantizer", "gumbel"}}}};
  return {config, random_tensors(codec_parameter_shapes(config))};
}

BundlePart small_denoiser() {
  const json config = {{"_class_name", "TesseraTransformer"},
                       {"tessera",
                        {{"format", 1},
                         {"kind", "autoregressive"},
                         {"codebook_size", 8},
                         {"grid", {2, 3}},
                         {"layers", 2},
                         {"heads", 2},
                         {"width", 8},
                         {"dropout", 0.0}}}};
  return {config, {{"head.weight", torch::randn({8, 8})}, {"final_norm.weight", torch::randn({8})}}};
}

Bundle small_bundle() {
  Bundle bundle;
  bundle.codec = small_codec();
  bundle.denoiser = small_denoiser();
  bundle.scheduler = json{{"_class_name", "TesseraProcess"},
                          {"tessera", {{"format", 1}, {"process", "autoregressive"}, {"total_steps", 6}}}};
  bundle.readme = "# A model\n";
  return bundle;
}

void expect_equal(const BundlePart& got, const BundlePart& want) {
  EXPECT_EQ(got.config, want.config);
  ASSERT_EQ(got.tensors.size(), want.tensors.size());
  for (const auto& [name, tensor] : want.tensors) EXPECT_TRUE(got.tensors.at(name).equal(tensor)) << name;
}

/// Changes one field of a JSON file.
void edit(const std::filesystem::path& path, const std::string& pointer, const json& value) {
  auto content = json::parse(testing::slurp(path));
  content[json::json_pointer(pointer)] = value;
  std::ofstream(path) << content.dump();
}

TEST(Bundle, WhatWasSavedIsLoaded) {
  const TemporaryFolder folder;
  const auto saved = small_bundle();
  save_bundle(folder.path() / "model", saved);
  const auto loaded = load_bundle(folder.path() / "model", true);
  expect_equal(*loaded.codec, *saved.codec);
  expect_equal(*loaded.denoiser, *saved.denoiser);
  EXPECT_EQ(*loaded.scheduler, *saved.scheduler);
  EXPECT_EQ(loaded.readme, saved.readme);
  EXPECT_EQ(part_hash(loaded, "vqvae"), content_hash(saved.codec->tensors));
  EXPECT_EQ(part_hash(saved, "transformer"), part_hash(loaded, "transformer"));
  EXPECT_EQ(loaded.index["vqvae"], json({"tessera", "VQModel"}));
}

TEST(Bundle, MayHoldOnlyACodecAndIsRewrittenInPlace) {
  const TemporaryFolder folder;
  Bundle bundle;
  bundle.codec = small_codec();
  save_bundle(folder.path(), bundle);
  auto loaded = load_bundle(folder.path());
  EXPECT_FALSE(loaded.denoiser);
  EXPECT_FALSE(loaded.scheduler);
  EXPECT_EQ(part_hash(loaded, "transformer"), "");
  // A prior is added while the codec's weights are mapped from the very file that is replaced.
  loaded.denoiser = small_denoiser();
  save_bundle(folder.path(), loaded);
  const auto again = load_bundle(folder.path(), true);
  expect_equal(*again.codec, *bundle.codec);
  EXPECT_TRUE(again.denoiser);
}

TEST(Bundle, ContentHashesDependOnNamesShapesTypesAndValuesOnly) {
  const auto base = torch::arange(6, torch::kFloat32).view({2, 3});
  const auto hash = content_hash({{"a", base}});
  EXPECT_EQ(hash.size(), 7u + 64);
  EXPECT_EQ(content_hash({{"a", base.t().contiguous().t()}}), hash);
  EXPECT_NE(content_hash({{"b", base}}), hash);
  EXPECT_NE(content_hash({{"a", base.view({3, 2})}}), hash);
  EXPECT_NE(content_hash({{"a", base.to(torch::kFloat64)}}), hash);
  EXPECT_NE(content_hash({{"a", base + 1}}), hash);
  EXPECT_NE(content_hash({{"a", base}, {"b", base}}), hash);
}

TEST(Sha256, GivesThePublishedDigests) {
  // FIPS 180-4 examples; the last one in uneven pieces.
  const auto digest = [](const std::string& text) {
    Sha256 hash;
    hash.update(text);
    return hash.finish();
  };
  EXPECT_EQ(digest(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(digest("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  Sha256 million;
  const std::string letters(1'000'000, 'a');
  for (std::size_t at = 0, step = 1; at < letters.size(); at += step, step = step % 200 + 1)
    million.update(std::string_view(letters).substr(at, step));
  EXPECT_EQ(million.finish(), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(HostileBundle, NewerFormatsAreRefused) {
  const TemporaryFolder folder;
  for (const char* file :
       {"model_index.json", "vqvae/config.json", "transformer/config.json", "scheduler/config.json"}) {
    save_bundle(folder.path(), small_bundle());
    edit(folder.path() / file, "/tessera/format", 2);
    EXPECT_TRUE(fails_with([&] { load_bundle(folder.path()); }, {file, "format 2", "up to 1"}));
    edit(folder.path() / file, "/tessera/format", "x");
    EXPECT_TRUE(fails_with([&] { load_bundle(folder.path()); }, {file, "no version number"}));
    edit(folder.path() / file, "/tessera", 5);
    EXPECT_TRUE(fails_with([&] { load_bundle(folder.path()); }, {file, "no object"}));
  }
}

TEST(HostileBundle, BrokenAndMissingFilesAreNamed) {
  const TemporaryFolder folder;
  EXPECT_TRUE(fails_with([&] { load_bundle(folder.path() / "none"); }, {"none", "no such model folder"}));
  EXPECT_TRUE(fails_with([&] { load_bundle(folder.path()); }, {"model_index.json"}));
  save_bundle(folder.path(), small_bundle());
  folder.write("model_index.json", "{");
  EXPECT_TRUE(fails_with([&] { load_bundle(folder.path()); }, {"model_index.json", "not a JSON object"}));
  save_bundle(folder.path(), small_bundle());
  std::filesystem::remove(folder.path() / "transformer/config.json");
  EXPECT_TRUE(fails_with([&] { load_bundle(folder.path()); }, {"transformer/config.json"}));
  save_bundle(folder.path(), small_bundle());
  std::filesystem::remove(folder.path() / "vqvae/diffusion_pytorch_model.safetensors");
  EXPECT_TRUE(fails_with([&] { load_bundle(folder.path()); }, {"vqvae", "diffusion_pytorch_model.safetensors"}));
  save_bundle(folder.path(), small_bundle());
  std::filesystem::resize_file(folder.path() / "vqvae/diffusion_pytorch_model.safetensors", 1000);
  EXPECT_TRUE(fails_with([&] { load_bundle(folder.path()); }, {"vqvae/diffusion_pytorch_model.safetensors"}));
  save_bundle(folder.path(), small_bundle());
  edit(folder.path() / "vqvae/config.json", "/block_out_channels", {16});
  EXPECT_TRUE(fails_with([&] { load_bundle(folder.path()); }, {"vqvae", "expected [16"}));
}

TEST(HostileBundle, ChangedWeightsAreFoundWhereverTheyAreLoaded) {
  const TemporaryFolder folder;
  save_bundle(folder.path(), small_bundle());
  save_safetensors(folder.path() / "vqvae/diffusion_pytorch_model.safetensors", small_codec().tensors);
  EXPECT_TRUE(fails_with([&] { load_bundle(folder.path()); }, {"vqvae", "hash"}));
  const auto unverified = load_bundle(folder.path(), false);
  EXPECT_EQ(part_hash(unverified, "vqvae"), content_hash(unverified.codec->tensors));
  EXPECT_NE(part_hash(unverified, "vqvae"), unverified.index["tessera"]["weights"]["vqvae"].get<std::string>());
}

TEST(HostileBundle, WeightsThatWereBeingReplacedAreKnownWhicheverLieThere) {
  const TemporaryFolder folder;
  const auto index = folder.path() / "model_index.json";
  const auto weights = folder.path() / "vqvae/diffusion_pytorch_model.safetensors";
  auto bundle = small_bundle();
  save_bundle(folder.path(), bundle);
  const auto before = std::filesystem::path(folder.path() / "old");
  std::filesystem::copy_file(weights, before);
  const auto old_hash = load_bundle(folder.path()).index["tessera"]["weights"]["vqvae"];
  bundle.codec->tensors.begin()->second = bundle.codec->tensors.begin()->second + 1;
  save_bundle(folder.path(), bundle);
  auto announced = load_bundle(folder.path()).index;
  EXPECT_FALSE(announced["tessera"].contains("weights_next"));
  // As if the writer had been killed between the announcement and the record.
  announced["tessera"]["weights_next"]["vqvae"] = announced["tessera"]["weights"]["vqvae"];
  announced["tessera"]["weights"]["vqvae"] = old_hash;
  std::ofstream(index) << announced.dump();
  EXPECT_NO_THROW(load_bundle(folder.path()));
  std::filesystem::copy_file(before, weights, std::filesystem::copy_options::overwrite_existing);
  EXPECT_NO_THROW(load_bundle(folder.path()));
  save_safetensors(weights, small_codec().tensors);
  EXPECT_TRUE(fails_with([&] { load_bundle(folder.path()); }, {"vqvae", "hash"}));
}

TEST(HostileBundle, AFlippedBitInAnyOfItsTextsIsFoundAndNamed) {
  const TemporaryFolder folder;
  save_bundle(folder.path(), small_bundle());
  std::mt19937_64 random(9);
  for (const auto* file :
       {"model_index.json", "vqvae/config.json", "transformer/config.json", "scheduler/config.json"}) {
    const auto path = folder.path() / file;
    if (!std::filesystem::exists(path)) continue;
    const auto text = read_file(path);
    for (int i = 0; i < 200; ++i) {
      auto flipped = text;
      const auto at = random() % text.size();
      flipped[at] = static_cast<char>(flipped[at] ^ (1 << (random() % 8)));
      write_file_atomically(path, flipped);
      EXPECT_THROW(load_bundle(folder.path()), Error) << file << " byte " << at << ": " << flipped;
    }
    write_file_atomically(path, text);
    EXPECT_NO_THROW(load_bundle(folder.path()));
  }
}

TEST(HostileBundle, AConfigurationThatWasChangedOnPurposeIsRecordedAnew) {
  const TemporaryFolder folder;
  save_bundle(folder.path(), small_bundle());
  const auto path = folder.path() / "vqvae/config.json";
  write_file_atomically(path, read_file(path) + " ");
  EXPECT_TRUE(fails_with([&] { load_bundle(folder.path()); }, {"vqvae/config.json", "changed or damaged", "--record"}));
  record_bundle(folder.path());
  EXPECT_NO_THROW(load_bundle(folder.path()));
  replace_bundle_file(folder.path(), "vqvae/config.json", read_file(path) + "\n");
  EXPECT_NO_THROW(load_bundle(folder.path()));
  // As if the writer had been killed between the announcement and the file, or the file and the record.
  auto index = nlohmann::json::parse(read_file(folder.path() / "model_index.json"));
  announce_files(index, {{"vqvae/config.json", read_file(path) + "  "}});
  write_file_atomically(folder.path() / "model_index.json", index_text(index));
  EXPECT_NO_THROW(load_bundle(folder.path()));
  write_file_atomically(path, read_file(path) + "  ");
  EXPECT_NO_THROW(load_bundle(folder.path()));
}

TEST(HostileBundle, PartsThatDoNotFitAreNotWritten) {
  const TemporaryFolder folder;
  auto bundle = small_bundle();
  bundle.codec->tensors.erase("encoder.conv_in.bias");
  EXPECT_TRUE(fails_with([&] { save_bundle(folder.path() / "m", bundle); }, {"missing: encoder.conv_in.bias [8]"}));
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "m"));
  EXPECT_TRUE(fails_with([&] { save_bundle(folder.path() / "m", {}); }, {"without codec and denoiser"}));
}

}  // namespace bundle_test
}  // namespace tessera
