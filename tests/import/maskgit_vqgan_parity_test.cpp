/// MaskGIT's VQGAN against the numbers that its PyTorch port computes.
#include <gtest/gtest.h>

#include "codec/codec.h"
#include "import/importers.h"
#include "support/fixtures.h"

namespace tessera {
namespace maskgit_vqgan_parity_test {

Codec codec_of(const std::filesystem::path& path) {
  const auto imported = import_checkpoint(path);
  EXPECT_EQ(imported.importer, "maskgit-vqgan");
  auto codec = Codec(codec_options_from_json(imported.codec->config));
  codec->load(imported.codec->tensors, path.string());
  codec->eval();
  return codec;
}

void expect_case(const testing::FixtureCase& fixture) {
  auto codec = codec_of(fixture.checkpoint());
  const torch::NoGradGuard no_grad;
  const auto& image = fixture.tensor("image");
  const auto latents = codec->latents(image);
  EXPECT_TRUE(fixture.matches("encoder_out", latents));
  const auto codes = codec->quantizer->codes(latents);
  EXPECT_TRUE(codes.flatten(1).equal(fixture.tensor("codes"))) << "codes";
  const auto quantized = codec->quantizer->quantize(latents, {});
  EXPECT_TRUE(fixture.matches("quantized", quantized.quantized));
  EXPECT_TRUE(fixture.matches("codebook_loss", quantized.loss.reshape({1})));
  const auto rows = latents.flatten(2).transpose(1, 2).to(torch::kFloat64).unsqueeze(2);  // [N, L, 1, D]
  const auto distances = (rows - codec->quantizer->codebook().to(torch::kFloat64)).square().sum(-1);
  const auto temperature = fixture.description.at("settings").at("soft_temperature").get<double>();
  EXPECT_TRUE(fixture.matches("soft_code", torch::softmax(-distances / temperature, -1)));
  EXPECT_TRUE(fixture.matches("reconstruction", codec->decode_latents(codec->quantizer->embed(codes))));
  // The sides of a decoding by codes are equal.
  const auto& given = fixture.tensor("codes_in");
  const auto side = fixture.description.at("settings").at("decode_side").get<std::int64_t>();
  const auto grid = given.view({given.size(0), side, side});
  const auto decoded = codec->decode_latents(codec->quantizer->embed(grid));
  EXPECT_TRUE(fixture.matches("decoded", decoded));
  EXPECT_TRUE(fixture.matches("decoded_clamped", decoded.clamp(0, 1)));
  const auto bytes = codec->decode({grid, codec->options().codebook_size}).to(torch::kFloat32) / 255;
  EXPECT_LE((bytes - fixture.tensor("decoded_clamped")).abs().max().item<double>(), 0.5 / 255 + 1e-4);
}

TEST(Parity, MaskGitVqgan) {
  TESSERA_FOR_EACH_CASE(fixture, "maskgit-vqgan") {
    SCOPED_TRACE(fixture.name());
    expect_case(fixture);
  }
}

TEST(Parity, MaskGitVqganLayers) {
  TESSERA_FOR_EACH_CASE(fixture, "maskgit-vqgan") {
    SCOPED_TRACE(fixture.name());
    // The hub's folder is the same as the file.
    auto codec = codec_of(fixture.folder);
    const torch::NoGradGuard no_grad;
    const auto layers = codec->encoder->named_children();
    const auto first = std::dynamic_pointer_cast<ConvolutionImpl>(layers["conv_in"]);
    auto x = first->forward(fixture.tensor("image"));
    EXPECT_TRUE(fixture.matches("encoder_conv_in", x));
    const auto levels = std::dynamic_pointer_cast<torch::nn::ModuleListImpl>(layers["down_blocks"]);
    x = levels->at<LevelImpl>(0).forward(x);
    EXPECT_TRUE(fixture.matches("encoder_down0", x));
    const auto blocks =
        std::dynamic_pointer_cast<torch::nn::ModuleListImpl>(levels->at<LevelImpl>(1).named_children()["resnets"]);
    EXPECT_TRUE(fixture.matches("encoder_down1_block0", blocks->at<ResidualBlockImpl>(0).forward(x)));
  }
}

}  // namespace maskgit_vqgan_parity_test
}  // namespace tessera
