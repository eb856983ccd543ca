/// LlamaGen's image tokenizer against the numbers that the original computes.
#include <gtest/gtest.h>

#include "codec/codec.h"
#include "import/importers.h"
#include "support/fixtures.h"

namespace tessera {
namespace llamagen_parity_test {

void expect_case(const testing::FixtureCase& fixture) {
  const auto imported = import_checkpoint(fixture.checkpoint());
  EXPECT_EQ(imported.importer, "llamagen-vq");
  ASSERT_TRUE(imported.codec.has_value());
  auto codec = Codec(codec_options_from_json(imported.codec->config));
  codec->load(imported.codec->tensors, fixture.name());
  codec->eval();
  const torch::NoGradGuard no_grad;
  const auto image = fixture.tensor("image");
  EXPECT_TRUE(fixture.matches("encoder_out", codec->encoder->forward(image)));
  const auto latents = codec->latents(image);
  EXPECT_TRUE(fixture.matches("latent", latents));
  EXPECT_TRUE(fixture.matches("latent_unit", latents / latents.norm(2, {1}, true).clamp_min(1e-12)));
  const auto codes = codec->quantizer->codes(latents);
  EXPECT_TRUE(codes.equal(fixture.tensor("codes"))) << "codes";
  EXPECT_TRUE(fixture.matches("quantized", codec->quantizer->quantize(latents, {}).quantized));
  EXPECT_TRUE(fixture.matches("reconstruction", codec->decode_latents(codec->quantizer->embed(codes))));
  EXPECT_TRUE(fixture.matches("reconstruction_from_codes", codec->decode_latents(codec->quantizer->embed(codes))));
  const auto& codes_in = fixture.tensor("codes_in");
  const auto entries = codec->quantizer->embed(codes_in);
  EXPECT_TRUE(fixture.matches("codebook_entries", entries));
  EXPECT_TRUE(fixture.matches("post_quant", codec->before_decoder(entries)));
  const auto decoded = codec->decode_latents(entries);
  EXPECT_TRUE(fixture.matches("decoded", decoded));
  if (!fixture.expected.count("decoded_bytes")) return;
  // The demo adds a half and cuts off: rounding, but for ties.
  auto bytes = codec->decode({codes_in, codec->options().codebook_size});
  if (fixture.tensor("decoded_bytes").size(-1) == 3) bytes = bytes.permute({0, 2, 3, 1});
  EXPECT_TRUE(fixture.matches("decoded_bytes", bytes));
}

TEST(Parity, LlamaGenVq) {
  TESSERA_FOR_EACH_CASE(fixture, "llamagen-vq") {
    SCOPED_TRACE(fixture.name());
    expect_case(fixture);
  }
}

}  // namespace llamagen_parity_test
}  // namespace tessera
