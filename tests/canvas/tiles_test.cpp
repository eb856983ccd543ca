#include "canvas/tiles.h"

#include <gtest/gtest.h>

#include "canvas/tiny_codec.h"
#include "runtime/error.h"

namespace tessera {
namespace tiles_test {

using testing::tiny_codec;

TokenGrid some_grid(Extent extent, std::int64_t count = 1) {
  return {(torch::arange(count * extent.cells()) * 7 % 16).view({count, extent.h, extent.w}), 16};
}

TEST(Tiles, APictureNoLargerThanTheCodecsOwnIsDecodedInOnePiece) {
  auto codec = tiny_codec();
  for (const auto extent : {Extent{8, 8}, Extent{3, 8}, Extent{5, 2}}) {
    const auto grid = some_grid(extent, 2);
    EXPECT_TRUE(decode_tiled(codec, grid).equal(codec->decode(grid)));
  }
}

TEST(Tiles, AreDecodedAloneWhereTheyDoNotOverlap) {
  auto codec = tiny_codec();
  const auto grid = some_grid({20, 27});
  const auto tiles = codec_tiles(codec->options(), grid.extent());
  EXPECT_EQ(tiles.tops, (std::vector<std::int64_t>{0, 6, 12}));
  EXPECT_EQ(tiles.lefts, (std::vector<std::int64_t>{0, 6, 12, 18, 19}));
  const auto whole = decode_tiled(codec, grid)[0];
  EXPECT_EQ(whole.sizes(), (std::vector<std::int64_t>{3, 40, 54}));
  const auto tile = codec->decode({grid.codes().narrow(1, 6, 8).narrow(2, 12, 8), 16})[0];
  const auto inner = [](const torch::Tensor& t, std::int64_t y, std::int64_t x) {
    return t.narrow(1, y, 8).narrow(2, x, 8);
  };
  EXPECT_TRUE(inner(whole, 12 + 4, 24 + 4).equal(inner(tile, 4, 4)));
}

TEST(Tiles, CrossFadeLinearlyWhereTheyOverlap) {
  auto codec = tiny_codec();
  const auto grid = some_grid({8, 14});  // two tiles side by side that share two columns of cells, four pixels
  const auto left = codec->decode({grid.codes().narrow(2, 0, 8), 16})[0].to(torch::kFloat32);
  const auto right = codec->decode({grid.codes().narrow(2, 6, 8), 16})[0].to(torch::kFloat32);
  const auto whole = decode_tiled(codec, grid)[0].to(torch::kFloat32);
  EXPECT_TRUE(whole.narrow(2, 0, 12).equal(left.narrow(2, 0, 12)));
  EXPECT_TRUE(whole.narrow(2, 16, 12).equal(right.narrow(2, 4, 12)));
  for (std::int64_t i = 0; i < 4; ++i) {
    const double share = (static_cast<double>(i) + 0.5) / 4;
    const auto mixed = left.select(2, 12 + i) * (1 - share) + right.select(2, i) * share;
    EXPECT_LE((whole.select(2, 12 + i) - mixed).abs().max().item<float>(), 0.51F) << i;
  }
}

TEST(Tiles, MaskedCellsAreGrey) {
  auto codec = tiny_codec();
  auto codes = some_grid({8, 20}).codes().clone();
  codes.narrow(1, 2, 3).narrow(2, 5, 9).fill_(16);
  const auto decoded = decode_tiled(codec, {codes, 16})[0];
  EXPECT_TRUE(decoded.narrow(1, 4, 6).narrow(2, 10, 18).eq(128).all().item<bool>());
  EXPECT_FALSE(decoded.narrow(1, 4, 6).narrow(2, 0, 9).eq(128).all().item<bool>());
}

TEST(Tiles, EncodingTakesEachCellFromTheMiddleOfATile) {
  auto codec = tiny_codec();
  const auto bytes = to_tensor(testing::colourful(40, 32)).unsqueeze(0);
  const auto codes = encode_tiled(codec, bytes).codes()[0];
  EXPECT_EQ(codes.sizes(), (std::vector<std::int64_t>{16, 20}));
  // Tiles start at cells 0, 6, 8 and 0, 6, 12: the tile at (6, 6) decides cells 7..10 of each axis at least.
  const auto tile = codec->encode(bytes.narrow(2, 12, 16).narrow(3, 12, 16)).codes()[0];
  EXPECT_TRUE(codes.narrow(0, 7, 3).narrow(1, 7, 5).equal(tile.narrow(0, 1, 3).narrow(1, 1, 5)));
  const auto small = to_tensor(testing::colourful(16, 10)).unsqueeze(0);
  EXPECT_TRUE(encode_tiled(codec, small).codes().equal(codec->encode(small).codes()));
  EXPECT_THROW(encode_tiled(codec, to_tensor(testing::colourful(17, 16)).unsqueeze(0)), Error);
}

}  // namespace tiles_test
}  // namespace tessera
