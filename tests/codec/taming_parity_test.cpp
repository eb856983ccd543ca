/// Taming Transformers' VQModel against the numbers that the original computes.
#include <gtest/gtest.h>

#include "codec/codec.h"
#include "import/importers.h"
#include "support/fixtures.h"

namespace tessera {

TEST(Parity, TamingVqmodel) {
  TESSERA_FOR_EACH_CASE(fixture, "taming-vqmodel") {
    SCOPED_TRACE(fixture.name());
    ImportOptions options;
    options.config = fixture.folder / fixture.description.at("checkpoint").at("config").get<std::string>();
    const auto imported = import_checkpoint(fixture.checkpoint(), options);
    ASSERT_TRUE(imported.codec.has_value());
    auto codec = Codec(codec_options_from_json(imported.codec->config));
    codec->load(imported.codec->tensors, fixture.name());
    codec->eval();
    const torch::NoGradGuard no_grad;
    const auto image = fixture.tensor("image");
    EXPECT_TRUE(fixture.matches("encoder_output", codec->encoder->forward(image)));
    const auto latents = codec->latents(image);
    EXPECT_TRUE(fixture.matches("prequant", latents));
    const auto codes = codec->quantizer->codes(latents);
    EXPECT_TRUE(fixture.matches("code_indices", codes.flatten(1)));
    const auto quantized = codec->quantizer->embed(codes);
    EXPECT_TRUE(fixture.matches("quant", quantized));
    EXPECT_TRUE(fixture.matches("quant_from_indices", quantized));
    EXPECT_TRUE(fixture.matches("emb_loss", codec->quantizer->quantize(latents, {}).loss.reshape({1})));
    EXPECT_TRUE(fixture.matches("post_quant", codec->before_decoder(quantized)));
    EXPECT_TRUE(fixture.matches("decoded", codec->decode_latents(quantized)));
  }
}

}  // namespace tessera
