/// What captions name.
#include "metrics/caption_naming.h"

#include <gtest/gtest.h>

namespace tessera {
namespace caption_naming_test {

using Phrases = std::vector<std::string>;

TEST(CaptionNaming, PhrasesAreWhatStandsBetweenCommas) {
  EXPECT_EQ(phrases_of("a portrait, green v-neck shirt,  smile ,, "),
            (Phrases{"a portrait", "green v-neck shirt", "smile"}));
  EXPECT_EQ(phrases_of(""), Phrases{});
  EXPECT_EQ(phrase_key("Green v - neck shirt"), phrase_key("green v-neck shirt"));
  EXPECT_NE(phrase_key("green shirt"), phrase_key("red shirt"));
}

TEST(CaptionNaming, APhraseStandsForTheValueThatEveryPictureWithItHas) {
  const std::vector<Phrases> phrases = {{"green shirt", "brown hair", "glasses"},
                                        {"green shirt", "brown skin"},
                                        {"red shirt", "green background", "brown skin"},
                                        {"red shirt", "brown hair"}};
  const PhraseMeanings clothes(phrases, {"green", "green", "red", "red"});
  EXPECT_EQ(clothes.named_by({"Green shirt"}), std::set<std::string>{"green"});
  EXPECT_EQ(clothes.named_by({"red shirt", "green shirt"}), (std::set<std::string>{"green", "red"}));
  EXPECT_TRUE(clothes.named_by({"green background", "glasses", "blue shirt"}).empty())
      << "the background's green is no clothes', and nothing is known of blue";
  const PhraseMeanings hair(phrases, {"brown", "none", "hidden", "brown"});
  EXPECT_EQ(hair.named_by({"brown hair"}), std::set<std::string>{"brown"});
  EXPECT_TRUE(hair.named_by({"brown skin"}).empty());
}

TEST(CaptionNaming, ScoresCountWhatIsNamedAndWhatIsThere) {
  NamingScore phrases;
  count_phrases({"red shirt", "smile", "smile"}, {"red shirt", "glasses", "hat"}, phrases);
  EXPECT_DOUBLE_EQ(phrases.precision(), 0.5);
  EXPECT_DOUBLE_EQ(phrases.recall(), 1.0 / 3);
  EXPECT_DOUBLE_EQ(phrases.f1(), 2 * 0.5 / 3 / (0.5 + 1.0 / 3));
  NamingScore values;
  count_values({"red"}, "red", values);
  count_values({"blue"}, "none", values);  // named where nothing is
  count_values({}, "green", values);       // there and not named
  count_values({"red", "blue"}, "red", values);
  EXPECT_EQ(values.right, 2);
  EXPECT_EQ(values.named, 4);
  EXPECT_EQ(values.there, 3);
  EXPECT_DOUBLE_EQ(values.f1(), 4.0 / 7);
  EXPECT_EQ(NamingScore().f1(), 0);
}

}  // namespace caption_naming_test
}  // namespace tessera
