// Pictures as tokens: what the codec's precision changes, and that a cache keeps them apart.
#include "training/token_data.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "checkpoint/bundle.h"
#include "support/scratch.h"

namespace tessera {
namespace token_data_test {

const std::string kModel = std::string(TESSERA_SOURCE_DIR) + "/models/emoji64";

TEST(TokenData, InBfloat16FewCellsHaveAnotherCodeAndTheCacheKeepsThemApart) {
  const torch::NoGradGuard no_grad;
  const auto folder = testing::scratch_folder("token-data");
  const auto part = load_bundle(kModel).codec;
  Codec codec(codec_options_from_json(part->config));
  codec->load(part->tensors, kModel);
  codec->eval();
  DatasetOptions options;
  options.path = kModel + "/examples";
  options.size = codec->options().image_size;
  options.use_cache = false;
  const auto data = Dataset::open(options);
  const auto encoded = [&](const std::string& precision) {
    const auto name = set_encode_precision(codec, "hash", precision);
    return tokens_of(data, codec, name, false, folder).train;
  };
  EXPECT_EQ(set_encode_precision(codec, "hash", "float32"), "hash");
  EXPECT_EQ(set_encode_precision(codec, "hash", "bfloat16"), "hash bfloat16");
  const auto exact = encoded("float32"), rounded = encoded("bfloat16");
  ASSERT_EQ(exact.sizes(), rounded.sizes());
  EXPECT_LT(exact.ne(rounded).to(torch::kFloat).mean().item<double>(), 0.1);
  EXPECT_TRUE(torch::equal(encoded("float32"), exact)) << "from the cache";
  std::size_t kept = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) kept += entry.is_regular_file();
  EXPECT_EQ(kept, 2u);
}

}  // namespace token_data_test
}  // namespace tessera
