/// The rows of noise, unseen pictures and copies beside a model's figures, and features of feature networks.
#include "metrics/references.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "metrics/feature_network.h"
#include "metrics/frechet.h"
#include "runtime/error.h"

namespace tessera {
namespace references_test {

torch::Tensor cloud(std::int64_t count, double centre, std::uint64_t seed) {
  return torch::randn({count, 4}, at::detail::createCPUGenerator(seed)) + centre;
}

TEST(References, CopiesHaveNoDistanceAndNoiseIsFar) {
  const auto real = cloud(200, 0, 1);
  PrdcOptions options;
  const std::vector<ReferenceSet> sets = {{"samples", "", cloud(50, 0, 2)},
                                          {kHeldOutRow, "", cloud(60, 0, 3)},
                                          {kCopiesRow, "", real.slice(0, 0, 50)},
                                          {kPixelNoiseRow, "", cloud(50, 20, 4)}};
  const auto rows = reference_rows(real, sets, 50, options);
  ASSERT_EQ(rows.size(), 4U);
  for (const auto& row : rows) EXPECT_EQ(row.images, 50);
  EXPECT_EQ(rows[2].nearest, 0);
  EXPECT_EQ(rows[2].balls.precision, 1);
  EXPECT_GT(rows[1].nearest, 0);
  EXPECT_EQ(rows[3].balls.precision, 0);
  EXPECT_GT(rows[3].frechet_distance, 100 * rows[1].frechet_distance);
  EXPECT_DOUBLE_EQ(rows[1].frechet_distance, frechet_distance(real, sets[1].features.slice(0, 0, 50)));
  EXPECT_TRUE(warnings_of(rows, "samples").empty());
  const auto json = to_json(rows, "FD-X", "features of X", {"note"});
  EXPECT_EQ(json["rows"].size(), 4U);
  EXPECT_EQ(json["rows"][3]["set"], kPixelNoiseRow);
  HtmlReport report("r");
  add_references(rows, "FD-X", {"a note"}, report);
  for (const char* part : {"FD-X", kCopiesRow, kPixelNoiseRow, "a note"})
    EXPECT_NE(report.html().find(part), std::string::npos) << part;
}

TEST(References, WhatMisleadsIsSaid) {
  const auto real = cloud(200, 0, 1);
  const auto said = [&](const torch::Tensor& samples, const torch::Tensor& noise) {
    const std::vector<ReferenceSet> sets = {
        {"samples", "", samples}, {kHeldOutRow, "", cloud(50, 0, 3)}, {kPixelNoiseRow, "", noise}};
    std::string all;
    for (const auto& note : warnings_of(reference_rows(real, sets, 50, {}), "samples")) all += note + "\n";
    return all;
  };
  const auto noise = cloud(50, 20, 4);
  EXPECT_NE(said(real.slice(0, 0, 50), noise).find("may be copies"), std::string::npos);
  EXPECT_NE(said(cloud(50, 19, 5), noise).find("hardly nearer"), std::string::npos);
  EXPECT_NE(said(cloud(50, 0, 6), cloud(50, 0, 7)).find("Precision takes"), std::string::npos);
}

TEST(References, TooFewPicturesAreNamed) {
  EXPECT_THROW((void)reference_rows(cloud(50, 0, 1), {{"samples", "", cloud(9, 0, 2)}}, 10, {}), Error);
}

TEST(References, NoiseIsTheSameInEveryReport) {
  EXPECT_TRUE(torch::equal(pixel_noise(3, 8, 5), pixel_noise(3, 8, 5)));
  EXPECT_FALSE(torch::equal(pixel_noise(3, 8, 5), pixel_noise(3, 8, 6)));
  CodecOptions options;
  options.codebook_size = 7;
  const auto codes = random_codes(4, options, 1);
  EXPECT_EQ(codes.size(1), options.grid().h);
  EXPECT_EQ(codes.max().item<std::int64_t>(), 6);
  EXPECT_EQ(codes.min().item<std::int64_t>(), 0);
}

Codec codec_with_head(bool head) {
  CodecOptions options;
  options.image_size = 16;
  options.channel_multipliers = {1, 1};
  options.attention_resolutions = {};
  options.logsigma_head = head;
  torch::manual_seed(7);
  return Codec(options);
}

TEST(References, AHeadThatWasNeverTrainedIsFound) {
  EXPECT_TRUE(untrained_heads(*codec_with_head(false)).empty());
  auto codec = codec_with_head(true);
  EXPECT_EQ(untrained_heads(*codec), std::vector<std::string>{"decoder.logsigma"});
  auto weights = codec->weights();
  for (auto& [name, tensor] : weights) {
    if (name.starts_with("decoder.logsigma")) tensor = tensor + 0.02 * torch::randn_like(tensor);
  }
  codec->load(weights, "test");
  EXPECT_TRUE(untrained_heads(*codec).empty());
  weights["decoder.logsigma.2.weight"] = torch::zeros_like(weights["decoder.logsigma.2.weight"]);
  codec->load(weights, "test");
  EXPECT_EQ(untrained_heads(*codec).size(), 1U);
}

TEST(BackboneFeatures, AreOfOneSizeWhateverThePicturesAreAndNeverCalledFid) {
  auto network = backbone_features(shipped_backbone("mobilenetv2"));
  EXPECT_EQ(network->distance_name(), "FD-MobileNetV2");
  EXPECT_FALSE(network->published());
  EXPECT_NE(network->label().find("NOT comparable with published FID"), std::string::npos);
  EXPECT_NE(network->label().find("128x128"), std::string::npos);
  const auto small = pixel_noise(1, 32, 1)[0];
  const auto wide = torch::randint(0, 256, {3, 40, 90}).to(torch::kUInt8);
  const auto rows = network->features({small, wide, small});
  EXPECT_EQ(rows.sizes(), torch::IntArrayRef({3, 1280}));
  EXPECT_TRUE(torch::allclose(rows[0], rows[2], 1e-4, 1e-5));
  EXPECT_FALSE(torch::allclose(rows[0], rows[1], 1e-2, 1e-2));
  // A picture of the network's own size is not resampled.
  const auto whole = pixel_noise(1, 128, 2);
  const auto direct = shipped_backbone("mobilenetv2").forward(whole.to(torch::kFloat32) / 255).features;
  EXPECT_TRUE(torch::allclose(network->features({whole[0]}), direct, 1e-4, 1e-5));
  EXPECT_NE(network->key(), backbone_features(shipped_backbone("mobilenetv2"), 64)->key());
  EXPECT_NE(network->key(), backbone_features(shipped_backbone("squeezenet"))->key());
  EXPECT_THROW((void)backbone_features(shipped_backbone("squeezenet"), 16), Error);
}

}  // namespace references_test
}  // namespace tessera
