/// What a step of a training tells its grids.
#include "training/condition_source.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "runtime/error.h"

namespace tessera {
namespace condition_source_test {

const std::vector<std::string> kWords = {"red hair", "glasses", "smile"};

TokenData one_picture() {
  TokenData data;
  data.conditions.train_captions = {"portrait, red hair, glasses, smile"};
  data.conditions.validation_captions = data.conditions.train_captions;
  data.conditions.train_keywords = {kWords};
  return data;
}

PriorRecipe told_keywords(double rate) {
  PriorRecipe recipe;
  recipe.condition = "text";
  recipe.text_length = 40;
  recipe.text_merges = 60;
  recipe.keyword_rate = rate;
  return recipe;
}

/// The tokens of every ordered choice of the words, and how many words it has.
std::map<std::vector<std::int64_t>, std::size_t> choices(const ClipTokenizer& tokenizer, std::int64_t length) {
  std::map<std::vector<std::int64_t>, std::size_t> found;
  std::vector<std::size_t> order = {0, 1, 2};
  do {
    std::string text;
    for (std::size_t count = 1; count <= order.size(); ++count) {
      text += (count == 1 ? "" : ", ") + kWords[order[count - 1]];
      const auto ids = tokenizer.encode_padded(text, length).ids;
      found[{ids.begin(), ids.end()}] = count;
    }
  } while (std::next_permutation(order.begin(), order.end()));
  return found;
}

TEST(ConditionSource, KeywordsAreChosenAtRandomInNumberAndOrder) {
  const auto recipe = told_keywords(1);
  const ConditionSource source(recipe, one_picture(), std::nullopt);
  const auto known = choices(*source.tokenizer(), recipe.text_length);
  EXPECT_EQ(known.size(), 3U + 6U + 6U);
  std::map<std::size_t, int> by_count;
  std::set<std::vector<std::int64_t>> seen;
  constexpr int kSteps = 600;
  for (int step = 0; step < kSteps; ++step) {
    const auto ids = source.at_step(torch::zeros({1}, torch::kInt64), step).ids[0].contiguous();
    const std::vector<std::int64_t> row(ids.data_ptr<std::int64_t>(), ids.data_ptr<std::int64_t>() + ids.numel());
    const auto found = known.find(row);
    ASSERT_NE(found, known.end()) << "neither a choice of the keywords nor an order of one";
    ++by_count[found->second];
    seen.insert(row);
  }
  EXPECT_EQ(seen.size(), known.size());
  for (const std::size_t count : {1, 2, 3}) EXPECT_NEAR(by_count[count], kSteps / 3, 60) << count << " words";
}

TEST(ConditionSource, ThePartOfThePicturesThatIsToldKeywordsIsTheRate) {
  const auto recipe = told_keywords(0.25);
  const ConditionSource source(recipe, one_picture(), std::nullopt);
  const auto rows = torch::zeros({1}, torch::kInt64);
  const auto caption = source.as_given(rows, true).ids;
  int others = 0;
  for (int step = 0; step < 800; ++step) others += torch::equal(source.at_step(rows, step).ids, caption) ? 0 : 1;
  EXPECT_NEAR(others, 200, 45);
  EXPECT_TRUE(torch::equal(source.as_given(rows, false).ids, caption)) << "a look at the grids draws nothing";
}

TEST(ConditionSource, KeywordsThatAreNotThereAreNamed) {
  auto data = one_picture();
  data.conditions.train_keywords.clear();
  EXPECT_THROW(ConditionSource(told_keywords(0.5), data, std::nullopt), Error);
}

}  // namespace condition_source_test
}  // namespace tessera
