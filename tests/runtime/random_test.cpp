#include "runtime/random.h"

#include <gtest/gtest.h>

#include <cmath>

namespace tessera {

// Known answers of the Random123 distribution (kat_vectors, philox4x32 with 10 rounds).
TEST(Philox, MatchesThePublishedKnownAnswers) {
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}),
            (std::array<std::uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (std::array<std::uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (std::array<std::uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(RandomStream, UniformsAreNeverZeroOrOneAndHaveTheRightMean) {
  const RandomStream stream(7, Purpose::draw_tokens, 3, 5);
  double sum = 0;
  constexpr int kDraws = 100000;
  for (int cell = 0; cell < kDraws; ++cell) {
    const double u = stream.uniform(cell);
    ASSERT_GT(u, 0.0);
    ASSERT_LT(u, 1.0);
    sum += u;
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 5 * std::sqrt(1.0 / 12 / kDraws));
}

TEST(RandomStream, EveryPartOfTheKeyMatters) {
  const auto draw = [](Seed seed, Purpose purpose, std::uint64_t image, std::uint32_t step, std::uint32_t cell) {
    return RandomStream(seed, purpose, image, step).bits(cell);
  };
  const auto base = draw(1, Purpose::draw_tokens, 2, 3, 4);
  EXPECT_EQ(base, draw(1, Purpose::draw_tokens, 2, 3, 4));
  EXPECT_NE(base, draw(2, Purpose::draw_tokens, 2, 3, 4));
  EXPECT_NE(base, draw(1, Purpose::select_cells, 2, 3, 4));
  EXPECT_NE(base, draw(1, Purpose::draw_tokens, 5, 3, 4));
  EXPECT_NE(base, draw(1, Purpose::draw_tokens, 2 + (std::uint64_t{1} << 32), 3, 4));
  EXPECT_NE(base, draw(1, Purpose::draw_tokens, 2, 4, 4));
  EXPECT_NE(base, draw(1, Purpose::draw_tokens, 2, 3, 5));
}

}  // namespace tessera
