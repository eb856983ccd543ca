#include "codec/codec.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "checkpoint/parameter_shapes.h"
#include "codec/discriminator.h"
#include "codec/perceptual.h"
#include "runtime/error.h"

namespace tessera {
namespace codec_test {

CodecOptions tiny() {
  CodecOptions options;
  options.image_size = 16;
  options.channel_multipliers = {1, 2};
  options.attention_resolutions = {8};
  options.embedding_width = 8;
  options.codebook_size = 16;
  return options;
}

torch::Tensor some_bytes(std::int64_t count, std::int64_t side) {
  torch::manual_seed(5);
  return torch::randint(0, 256, {count, 3, side, side}, torch::kUInt8);
}

TEST(Codec, TokensHaveTheGridOfTheFactorAtAnySize) {
  torch::manual_seed(1);
  auto codec = Codec(tiny());
  codec->eval();
  const auto grid = codec->encode(torch::zeros({2, 3, 24, 16}, torch::kUInt8));
  EXPECT_EQ(grid.extent(), (Extent{12, 8}));
  EXPECT_EQ(codec->decode(grid).sizes().vec(), (std::vector<std::int64_t>{2, 3, 24, 16}));
}

TEST(Codec, ConfigurationSurvivesTheWayToJsonAndBack) {
  auto options = tiny();
  options.decoder_residual_blocks = 3;
  options.final_activation = false;
  options.quantizer = QuantizerKind::ema;
  options.beta_term = BetaTerm::commitment;
  options.pixel_range = PixelRange::symmetric;
  EXPECT_EQ(to_json(codec_options_from_json(to_json(options))), to_json(options));
}

/// A patch of 2x2 pixels is one position of the convolutions: half the grid, and pixels at their places again.
TEST(Codec, PatchesHalveTheGridAndReturnToTheirPlaces) {
  torch::manual_seed(1);
  auto options = tiny();
  options.patch_size = 2;
  options.attention_resolutions = {4};
  auto codec = Codec(options);
  codec->eval();
  EXPECT_EQ(codec->encoder->named_parameters()["conv_in.weight"].size(1), 12);
  EXPECT_EQ(codec->decoder->last_layer().size(0), 12);
  EXPECT_EQ(to_json(codec_options_from_json(to_json(options))), to_json(options));
  EXPECT_EQ(codec_parameter_shapes(to_json(options)).size(), codec->weights().size());
  for (const auto& [name, shape] : codec_parameter_shapes(to_json(options)))
    EXPECT_EQ(codec->weights().at(name).sizes().vec(), shape) << name;
  const auto grid = codec->encode(torch::zeros({2, 3, 24, 16}, torch::kUInt8));
  EXPECT_EQ(grid.extent(), (Extent{6, 4}));
  EXPECT_EQ(codec->decode(grid).sizes().vec(), (std::vector<std::int64_t>{2, 3, 24, 16}));
  // With the last convolution's biases alone, channel 4 c + 2 y + x of a patch is colour c of its pixel (x, y).
  auto weights = codec->weights();
  weights["decoder.conv_out.weight"] = torch::zeros_like(weights["decoder.conv_out.weight"]);
  weights["decoder.conv_out.bias"] = torch::arange(12, torch::kFloat32);
  codec->load(weights, "biases");
  const torch::NoGradGuard no_grad;
  const auto pixels = codec->decode_latents(torch::zeros({1, 8, 1, 1}));
  for (int c = 0; c < 3; ++c) {
    for (int y = 0; y < 4; ++y) {
      for (int x = 0; x < 4; ++x) EXPECT_EQ(pixels[0][c][y][x].item<float>(), 4 * c + 2 * (y % 2) + x % 2);
    }
  }
}

TEST(Codec, WrongWeightsAreListedTogether) {
  auto codec = Codec(tiny());
  auto weights = codec->weights();
  weights.erase("encoder.conv_in.weight");
  weights["stray"] = torch::zeros({1});
  try {
    codec->load(weights, "file");
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("encoder.conv_in.weight"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("stray"), std::string::npos) << error.what();
  }
}

TEST(Codec, RejectsAnImageThatIsNoMultipleOfTheFactor) {
  auto codec = Codec(tiny());
  EXPECT_THROW(codec->encode(torch::zeros({1, 3, 15, 16}, torch::kUInt8)), Error);
}

TEST(Codec, RejectsUnknownNamesAndListsTheChoices) {
  try {
    quantizer_kind("fsq");
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "quantizer 'fsq': expected one of nearest, gumbel, ema");
  }
}

TEST(Quantizer, NearestRowsAgreeWithExhaustiveSearch) {
  torch::manual_seed(3);
  const auto rows = torch::randn({37, 5}), codebook = torch::randn({11, 5});
  const auto want = (rows.unsqueeze(1) - codebook.unsqueeze(0)).square().sum(2).argmin(1);
  EXPECT_TRUE(torch::equal(nearest_rows(rows, codebook), want));
}

TEST(Quantizer, BetaWeighsTheNamedTerm) {
  torch::manual_seed(3);
  auto options = tiny();
  options.beta = 0.25;
  const auto latents = torch::randn({1, 8, 4, 4});
  for (const auto term : {BetaTerm::codebook, BetaTerm::commitment}) {
    options.beta_term = term;
    NearestQuantizerImpl quantizer(options);
    auto leaf = latents.clone().requires_grad_(true);
    const auto pass = quantizer.quantize(leaf, {});
    const auto gradients = torch::autograd::grad({pass.loss}, {leaf, quantizer.codebook()});
    const double expected = term == BetaTerm::codebook ? 1.0 : 0.25;
    const auto plain = 2 * (latents - quantizer.embed(pass.indices)) / static_cast<double>(latents.numel());
    EXPECT_TRUE(torch::allclose(gradients[0], expected * plain, 1e-4, 1e-7));
  }
}

TEST(Quantizer, StraightThroughGradientReachesTheLatentsUnchanged) {
  NearestQuantizerImpl quantizer(tiny());
  auto latents = torch::randn({1, 8, 4, 4}).requires_grad_(true);
  const auto cotangent = torch::randn({1, 8, 4, 4});
  const auto gradient =
      torch::autograd::grad({(quantizer.quantize(latents, {}).quantized * cotangent).sum()}, {latents})[0];
  EXPECT_TRUE(torch::equal(gradient, cotangent));
}

TEST(Quantizer, AtUnitLengthTheCodeOfGreatestCosineIsTheNearest) {
  torch::manual_seed(4);
  CodecOptions options;
  options.embedding_width = 5;
  options.codebook_size = 9;
  options.unit_length = true;
  const auto quantizer = make_quantizer(options);
  quantizer->replace_rows(torch::arange(9), torch::randn({9, 5}) * torch::arange(1, 10).unsqueeze(1));
  const auto codebook = quantizer->codebook();
  EXPECT_TRUE(torch::allclose(codebook.norm(2, {1}), torch::ones({9}), 1e-5, 1e-6));
  auto latents = torch::randn({2, 5, 3, 4});
  const auto codes = quantizer->codes(latents);
  const auto cosine = torch::einsum("ndhw,kd->nhwk", {latents / latents.norm(2, {1}, true), codebook});
  EXPECT_TRUE(codes.equal(cosine.argmax(-1)));
  EXPECT_TRUE(codes.equal(quantizer->codes(latents * 100))) << "a latent's length says nothing";
  latents.requires_grad_();
  const auto out = quantizer->quantize(latents, {});
  EXPECT_TRUE(torch::allclose(out.quantized, quantizer->embed(out.indices), 1e-5, 1e-6));
  (out.quantized * torch::randn_like(out.quantized)).sum().backward();
  const auto along = (latents.grad() * latents).sum(1).detach();
  EXPECT_GT(latents.grad().abs().max().item<double>(), 1e-3);
  EXPECT_LT(along.abs().max().item<double>(), 1e-5) << "no gradient along a latent's own direction";
  options.quantizer = QuantizerKind::ema;
  EXPECT_THROW(options.validate(), Error);
}

TEST(Quantizer, EmaCodebookMovesTowardsItsLatents) {
  torch::manual_seed(4);
  auto options = tiny();
  options.quantizer = QuantizerKind::ema;
  EmaQuantizerImpl quantizer(options);
  quantizer.train();
  const auto latents = torch::randn({4, 8, 4, 4}) * 0.1 + 2;
  const auto distance = [&] {
    return (quantizer.embed(quantizer.codes(latents)) - latents).square().mean().item<double>();
  };
  const double before = distance();
  for (int step = 0; step < 300; ++step) quantizer.quantize(latents, {step, 0});
  EXPECT_LT(distance(), 0.2 * before);
}

TEST(Quantizer, GumbelTemperatureFallsToASixteenth) {
  EXPECT_DOUBLE_EQ(GumbelQuantizerImpl::temperature_at(0), 1.0);
  EXPECT_DOUBLE_EQ(GumbelQuantizerImpl::temperature_at(80000), 0.5);
  EXPECT_DOUBLE_EQ(GumbelQuantizerImpl::temperature_at(10000000), 1.0 / 16);
}

TEST(Codec, GradientsReachEveryWeight) {
  torch::manual_seed(2);
  for (const auto kind : {QuantizerKind::nearest, QuantizerKind::gumbel, QuantizerKind::ema}) {
    auto options = tiny();
    options.quantizer = kind;
    auto codec = Codec(options);
    codec->train();
    const auto pass = codec->train_pass(some_bytes(2, 16), {3, 1});
    ((pass.reconstruction - pass.target).abs().mean() + pass.quantizer_loss).backward();
    for (const auto& item : codec->named_parameters()) {
      ASSERT_TRUE(item.value().grad().defined()) << item.key();
      EXPECT_TRUE(item.value().grad().isfinite().all().item<bool>()) << item.key();
    }
  }
}

TEST(Codec, Bfloat16StaysCloseToFloat32) {
  torch::manual_seed(2);
  auto codec = Codec(tiny());
  codec->eval();
  const torch::NoGradGuard no_grad;
  const auto latents = torch::randn({2, 8, 8, 8});
  const auto exact = codec->decode_latents(latents);
  codec->set_precision(Precision::bfloat16);
  const auto rounded = codec->decode_latents(latents);
  // About fifteen layers, each rounding to 8 bits of mantissa.
  EXPECT_LT((rounded - exact).abs().max().item<double>(), 0.1 * exact.abs().max().item<double>());
}

TEST(Perceptual, EdgePyramidIsZeroOnlyForEqualEdges) {
  EdgePyramidLoss loss;
  const auto image = torch::rand({2, 3, 16, 16});
  EXPECT_EQ(loss.distance(image, image).abs().max().item<float>(), 0.0F);
  EXPECT_LT(loss.distance(image, image + 0.3).max().item<float>(), 1e-6F);  // edges only: a constant shift is free
  EXPECT_GT(loss.distance(image, image.flip(3)).min().item<float>(), 0.01F);
}

TEST(Perceptual, LpipsNamesTheMissingTensor) {
  try {
    Lpips({}, {});
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("features.0.weight"), std::string::npos);
  }
}

}  // namespace codec_test
}  // namespace tessera
