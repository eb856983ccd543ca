#include "data/token_cache.h"

#include <gtest/gtest.h>

#include "checkpoint/safetensors.h"
#include "data/sample_files.h"

namespace tessera::testing {
namespace token_cache_test {

const TokenCacheKey kKey{.dataset_key = "images", .codec_hash = "codec", .flip = false};

TokenGrid some_tokens(std::int64_t codebook_size) {
  return TokenGrid(torch::arange(5 * 2 * 3).remainder(codebook_size).view({5, 2, 3}).to(torch::kInt64), codebook_size);
}

TEST(TokenCache, GivesBackWhatWasSaved) {
  const TemporaryFolder folder;
  const TokenCache cache(folder / "new");
  EXPECT_FALSE(cache.load(kKey).has_value());
  for (const std::int64_t codebook_size : {8, 32768, 100000}) {
    const auto tokens = some_tokens(codebook_size);
    cache.save(kKey, tokens);
    const auto loaded = cache.load(kKey);
    ASSERT_TRUE(loaded.has_value());
    EXPECT_TRUE(torch::equal(loaded->codes(), tokens.codes()));
    EXPECT_EQ(loaded->codebook_size(), codebook_size);
  }
}

TEST(TokenCache, EveryPartOfTheKeyMatters) {
  const TemporaryFolder folder;
  const TokenCache cache(folder.path());
  cache.save(kKey, some_tokens(8));
  EXPECT_FALSE(cache.load({.dataset_key = "others", .codec_hash = "codec", .flip = false}).has_value());
  EXPECT_FALSE(cache.load({.dataset_key = "images", .codec_hash = "retrained", .flip = false}).has_value());
  EXPECT_FALSE(cache.load({.dataset_key = "images", .codec_hash = "codec", .flip = true}).has_value());
}

TEST(TokenCache, AFileOfAnotherKeyUnderThisNameIsNotUsed) {
  const TemporaryFolder folder;
  const TokenCache cache(folder.path());
  TokenCacheKey other = kKey;
  other.codec_hash = "retrained";
  cache.save(other, some_tokens(8));
  fs::rename(cache.file(other), cache.file(kKey));
  EXPECT_FALSE(cache.load(kKey).has_value());
}

TEST(TokenCache, TruncatedAndHostileFilesAreNotUsed) {
  const TemporaryFolder folder;
  const TokenCache cache(folder.path());
  cache.save(kKey, some_tokens(8));
  const auto bytes = read_file(cache.file(kKey));
  for (std::size_t size = 0; size < bytes.size(); size += 13) {
    put_file(cache.file(kKey), bytes.substr(0, size));
    EXPECT_FALSE(cache.load(kKey).has_value()) << size;
  }
  Metadata metadata;
  put_file(cache.file(kKey), bytes);
  load_safetensors(cache.file(kKey), &metadata);
  const auto rejects = [&](const torch::Tensor& codes) {
    save_safetensors(cache.file(kKey), {{"codes", codes}}, metadata);
    return !cache.load(kKey).has_value();
  };
  EXPECT_TRUE(rejects(torch::full({2, 2, 2}, 9, torch::kInt16))) << "a code beyond the codebook";
  EXPECT_TRUE(rejects(torch::full({2, 2, 2}, 8, torch::kInt16))) << "MASK";
  EXPECT_TRUE(rejects(torch::full({2, 2, 2}, -1, torch::kInt16))) << "a negative code";
  EXPECT_TRUE(rejects(torch::zeros({2, 2}, torch::kInt16))) << "two dimensions";
  EXPECT_TRUE(rejects(torch::zeros({2, 2, 2}))) << "no integers";
  EXPECT_FALSE(rejects(torch::zeros({2, 2, 2}, torch::kInt16)));
}

TEST(TokenCache, MaskedGridsAreNotSaved) {
  const TemporaryFolder folder;
  EXPECT_THROW(TokenCache(folder.path()).save(kKey, TokenGrid::all_masked(1, {2, 2}, 8)), Error);
}

}  // namespace token_cache_test
}  // namespace tessera::testing
