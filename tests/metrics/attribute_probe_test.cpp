/// Attributes read back by a linear probe.
#include "metrics/attribute_probe.h"

#include <gtest/gtest.h>

#include "runtime/error.h"

namespace tessera {
namespace attribute_probe_test {

constexpr std::int64_t kWidth = 24;

/// Features in which a value shifts the rows along a direction of its own, in noise; a second attribute lies across.
AttributeRows pictures(std::int64_t count, std::uint64_t seed, double noise) {
  torch::manual_seed(7);
  const auto directions = torch::randn({3, kWidth});
  torch::manual_seed(seed);
  const std::vector<std::string> names = {"red", "green", "blue"};
  AttributeRows rows;
  rows.features = noise * torch::randn({count, kWidth}) + 5;  // features are far from centred
  for (std::int64_t i = 0; i < count; ++i) {
    rows.features[i] += directions[i % 3] + 2 * directions[(i / 3) % 2].roll(1);
    rows.values.push_back(names[static_cast<std::size_t>(i % 3)]);
  }
  return rows;
}

TEST(AttributeProbe, ReadsWhatIsThereFromPicturesThatItHasNotSeen) {
  const LinearProbe probe(pictures(300, 1, 0.5), "colour");
  EXPECT_EQ(probe.values(), (std::vector<std::string>{"blue", "green", "red"}));
  EXPECT_NEAR(probe.most_frequent(), 1.0 / 3, 1e-9);
  const auto right = read_right(probe, pictures(150, 2, 0.5));
  EXPECT_GT(right.mean, 0.97);
  EXPECT_EQ(right.count, 150);
}

TEST(AttributeProbe, ReadsNothingFromPicturesThatDoNotShowIt) {
  const LinearProbe probe(pictures(300, 1, 0.5), "colour");
  auto others = pictures(300, 3, 0.5);
  torch::manual_seed(4);
  others.features = 5 + torch::randn({300, kWidth});
  EXPECT_NEAR(read_right(probe, others).mean, 1.0 / 3, 0.12);
}

/// Of random values nothing is learned: a probe that remembered its rows would read these right and others not.
TEST(AttributeProbe, TheRidgeIsThatWhichReadsOthersBest) {
  auto known = pictures(90, 1, 3);
  const LinearProbe probe(known, "colour");
  EXPECT_LT(read_right(probe, known).mean, 0.9);
  EXPECT_GT(read_right(probe, pictures(600, 2, 3)).mean, 0.4);
}

TEST(AttributeProbe, UnknownAndRareValuesAreLeftOut) {
  auto known = pictures(60, 1, 0.5);
  known.values[0] = "";
  known.values[1] = "mauve";
  const LinearProbe probe(known, "colour");
  EXPECT_EQ(probe.values().size(), 3U);
  auto asked = pictures(9, 2, 0.5);
  asked.values[0] = "mauve";
  asked.values[1] = "";
  EXPECT_EQ(read_right(probe, asked).count, 7);
  for (auto& value : asked.values) value = "mauve";
  EXPECT_THROW((void)read_right(probe, asked), Error);
  for (auto& value : known.values) value = "red";
  EXPECT_THROW(LinearProbe(known, "colour"), Error);
}

}  // namespace attribute_probe_test
}  // namespace tessera
