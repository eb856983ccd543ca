#include "text/learn_merges.h"

#include <gtest/gtest.h>

namespace tessera {
namespace learn_merges_test {

TEST(LearnMerges, TheMostFrequentPairsBecomeTokens) {
  const std::vector<std::string> texts = {"low low low low", "lower lower", "newest newest newest", "widest"};
  const auto tokenizer = learn_tokenizer(texts, 100);
  // Every word that occurs twice becomes one token; what occurs once stays in pieces.
  for (const char* word : {"low", "lower", "newest"}) EXPECT_EQ(tokenizer.encode(word).size(), 1u) << word;
  EXPECT_GT(tokenizer.encode("widest").size(), 1u);
  EXPECT_EQ(tokenizer.encode("low lower").size(), 2u);
  EXPECT_EQ(tokenizer.vocabulary_size(), learn_tokenizer(texts, 100).vocabulary_size());
  EXPECT_EQ(learn_tokenizer(texts, 3).vocabulary_size(), 512 + 3 + 2);
  EXPECT_EQ(learn_tokenizer({}, 3).vocabulary_size(), 512 + 2);
}

TEST(LearnMerges, WordsThatWereNotSeenAreStillWritten) {
  const auto tokenizer = learn_tokenizer({"a cat", "a cat"}, 50);
  EXPECT_EQ(tokenizer.encode("\xF0\x9F\x9A\x80").size(), 4u);
}

}  // namespace learn_merges_test
}  // namespace tessera
