/// The nearest concept by centroids of other styles.
#include "metrics/nearest_concept.h"

#include <gtest/gtest.h>

#include "runtime/error.h"

namespace tessera {
namespace nearest_concept_test {

/// Three concepts along three axes, two styles that shift along a fourth.
ConceptRows known_pictures() {
  ConceptRows known;
  std::vector<float> values;
  for (const std::string style : {"flat", "round"}) {
    for (int c = 0; c < 3; ++c) {
      for (int axis = 0; axis < 4; ++axis)
        values.push_back(axis == c ? 1.0F : axis == 3 && style == "round" ? 2.0F : 0.0F);
      known.concepts.push_back(std::string(1, static_cast<char>('a' + c)));
      known.styles.push_back(style);
      known.rows.push_back(-1);
    }
  }
  known.features = torch::tensor(values).view({6, 4});
  return known;
}

ConceptRows query(const std::vector<float>& features, const std::string& name, const std::string& style,
                  std::int64_t row = -1) {
  return {torch::tensor(features).view({1, -1}), {name}, {style}, {row}};
}

TEST(NearestConcept, IsThatOfTheNearestCentroid) {
  const auto found = nearest_concept(known_pictures(), query({0.2F, 1, 0, 0.5F}, "b", ""));
  EXPECT_EQ(found.nearest[0], "b");
  EXPECT_EQ(found.top1.mean, 1);
  EXPECT_NEAR(found.chance, 1.0 / 3, 1e-12);
  const auto wrong = nearest_concept(known_pictures(), query({1, 0.2F, 0, 0.5F}, "b", ""));
  EXPECT_EQ(wrong.nearest[0], "a");
  EXPECT_EQ(wrong.top1.mean, 0);
  EXPECT_EQ(wrong.top5.mean, 1);
}

TEST(NearestConcept, PicturesOfTheSameStyleCountForNothing) {
  auto known = known_pictures();
  // In the style "flat" the concept b looks like a; only other styles may judge a flat b.
  known.features[1] = torch::tensor({1.0F, 0.0F, 0.0F, 0.0F});
  const auto flat = nearest_concept(known, query({0.3F, 1, 0, 2}, "b", "flat"));
  EXPECT_EQ(flat.nearest[0], "b");
  // A concept that is in this style alone cannot be judged.
  known.concepts[4] = "a";
  EXPECT_THROW((void)nearest_concept(known, query({0, 1, 0, 0}, "b", "flat")), Error);
}

TEST(NearestConcept, APictureIsNotJudgedByItself) {
  auto known = known_pictures();
  for (auto& style : known.styles) style.clear();
  known.features[0] = torch::tensor({0.0F, 0.0F, 1.0F, 0.0F});  // a picture of a that looks like c
  const std::vector<float> same = {0, 0, 1, 0};
  EXPECT_EQ(nearest_concept(known, query(same, "a", "", 0)).nearest[0], "c");
  // Its concept's only picture: not judged.
  known.concepts[3] = "b";
  EXPECT_THROW((void)nearest_concept(known, query(same, "a", "", 0)), Error);
}

TEST(NearestConcept, UnknownConceptsAreNotJudged) {
  auto queries = query({1, 0, 0, 0}, "a", "");
  queries.features = torch::tensor({1.0F, 0.0F, 0.0F, 0.0F, 0.0F, 1.0F, 0.0F, 0.0F}).view({2, 4});
  queries.concepts.push_back("z");
  queries.styles.push_back("");
  queries.rows.push_back(-1);
  const auto found = nearest_concept(known_pictures(), queries);
  EXPECT_EQ(found.judged, 1);
  EXPECT_EQ(found.nearest[1], "");
}

}  // namespace nearest_concept_test
}  // namespace tessera
