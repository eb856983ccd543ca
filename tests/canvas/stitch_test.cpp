#include "canvas/stitch.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "canvas/tiny_codec.h"
#include "image/image_io.h"
#include "runtime/error.h"

namespace tessera {
namespace stitch_test {

using testing::picture;
using testing::tiny_codec;

template <typename Call>
std::string error_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
    return error.what();
  }
  return "";
}

LoadedPiece piece(const Picture& image, const PixelBox& from, int x, int y) {
  return {{"a.png", from, x, y}, image};
}

TEST(Piece, ParsesFileBoxAndPlace) {
  const auto parsed = parse_piece("a@b/c.png@1,2,3,4->50,6");
  EXPECT_EQ(parsed.file, "a@b/c.png");
  EXPECT_EQ(parsed.from, (PixelBox{1, 2, 3, 4}));
  EXPECT_EQ(parsed.to_x, 50);
  EXPECT_EQ(parsed.to_y, 6);
  for (const auto* wrong : {"", "a.png", "a.png@1,2,3,4", "a.png@1,2,3,4->5", "a.png@1,2,3->5,6", "@1,2,3,4->5,6",
                            "a.png@1,2,3,4->x,6", "a.png@1,2,3,4->5,6 ", "a.png->5,6"}) {
    EXPECT_THROW(parse_piece(wrong), UsageError) << wrong;
  }
}

TEST(Stitch, PiecesAreTheirPicturesTokensAndTheRestIsMasked) {
  auto codec = tiny_codec();
  const auto image = picture(16, 16), other = picture(16, 16, 99);
  const auto plan =
      plan_stitch(codec, {}, 16, 16, {piece(image, {0, 0, 8, 8}, 0, 0), piece(other, {4, 4, 12, 8}, 2, 8)});
  EXPECT_TRUE(plan.notes.empty());
  EXPECT_FALSE(plan.alpha.defined());
  const auto own = encode_picture(codec, *image), others = encode_picture(codec, *other);
  EXPECT_TRUE(plan.codes.narrow(0, 0, 4).narrow(1, 0, 4).equal(own.narrow(0, 0, 4).narrow(1, 0, 4)));
  EXPECT_TRUE(plan.codes.narrow(0, 4, 4).narrow(1, 1, 6).equal(others.narrow(0, 2, 4).narrow(1, 2, 6)));
  EXPECT_EQ((plan.codes == 16).sum().item<std::int64_t>(), 64 - 16 - 24);
}

TEST(Stitch, LaterPiecesLieOnTop) {
  auto codec = tiny_codec();
  const auto image = picture(16, 16), other = picture(16, 16, 99);
  const auto plan =
      plan_stitch(codec, {}, 16, 16, {piece(image, {0, 0, 16, 16}, 0, 0), piece(other, {0, 0, 8, 8}, 4, 4)});
  EXPECT_TRUE(
      plan.codes.narrow(0, 2, 4).narrow(1, 2, 4).equal(encode_picture(codec, *other).narrow(0, 0, 4).narrow(1, 0, 4)));
  EXPECT_EQ((plan.codes == 16).sum().item<std::int64_t>(), 0);
  EXPECT_EQ(crop(*plan.base, 4, 4, 8, 8), crop(*other, 0, 0, 8, 8));
}

TEST(Stitch, PiecesOffTheCellGridAreSnappedAndSaySo) {
  auto codec = tiny_codec();
  const auto image = picture(15, 16);
  const auto plan = plan_stitch(codec, {}, 20, 20, {piece(image, {3, 1, 5, 7}, 7, 4)});
  ASSERT_EQ(plan.notes.size(), 1U);
  EXPECT_EQ(plan.notes[0], "piece 1 (a.png): 3,1,5,7 to 7,4 snapped to cells of 2 pixels: 3,1,6,8 to 8,4");
  EXPECT_EQ((plan.codes != 16).sum().item<std::int64_t>(), 3 * 4);
  EXPECT_TRUE((plan.codes.narrow(0, 2, 4).narrow(1, 4, 3) != 16).all().item<bool>());
}

TEST(Stitch, OnAPictureTheSeamsAreRegenerated) {
  auto codec = tiny_codec();
  const auto canvas = picture(20, 18, 5), image = picture(16, 16);
  const auto plain = plan_stitch(codec, canvas, 0, 0, {piece(image, {0, 0, 6, 6}, 8, 6)});
  EXPECT_EQ((plain.codes == 16).sum().item<std::int64_t>(), 0);
  StitchOptions options;
  options.seam = 2;
  options.region.feather = 1;
  const auto blended = plan_stitch(codec, canvas, 0, 0, {piece(image, {0, 0, 6, 6}, 8, 6)}, options);
  EXPECT_EQ((blended.codes == 16).sum().item<std::int64_t>(), 25 - 9);
  EXPECT_EQ(blended.alpha[6][8].item<float>(), 0.5F);  // of the piece, one pixel from the seam
  EXPECT_EQ(blended.alpha[8][11].item<float>(), 0);    // the piece's middle
  EXPECT_EQ(blended.alpha[5][7].item<float>(), 1);     // the seam
  EXPECT_EQ(blended.alpha[0][0].item<float>(), 0);
}

TEST(Stitch, BadPiecesAreOneLine) {
  auto codec = tiny_codec();
  const auto image = picture(16, 16);
  const auto with = [&](const PixelBox& from, int x, int y) {
    return error_of([&] {
      plan_stitch(codec, {}, 16, 16, {piece(image, {0, 0, 2, 2}, 0, 0), piece(image, from, x, y)});
    });
  };
  EXPECT_EQ(with({0, 0, 8, 8}, 20, 0), "piece 2 (a.png): 8x8 pixels at 20,0 leave the canvas of 16x16");
  EXPECT_EQ(with({0, 0, 8, 8}, 0, 9), "piece 2 (a.png): 8x8 pixels at 0,9 leave the canvas of 16x16");
  EXPECT_EQ(with({10, 0, 8, 8}, 0, 0), "piece 2 (a.png): 10,0,8,8 leaves its picture of 16x16 pixels");
  EXPECT_EQ(with({0, 0, 8, 8}, 8, 8), "");
  EXPECT_NE(error_of([&] { plan_stitch(codec, {}, 16, 16, {}); }), "");
  EXPECT_NE(error_of([&] { plan_stitch(codec, {}, 0, 16, {piece(image, {0, 0, 2, 2}, 0, 0)}); }), "");
}

class LayoutFile : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "tessera-layout-XXXXXX").string();
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path write(const std::string& text) const {
    const auto path = folder_ / "layout.json";
    std::ofstream(path) << text;
    return path;
  }
  std::filesystem::path folder_;
};

TEST_F(LayoutFile, IsReadRelativeToItsFolder) {
  const auto layout = read_layout(write(
      R"({"width": 64, "height": 32, "onto": "base.png", "pieces": [{"image": "a/b.png", "from": [1, 2, 3, 4], "to": [5, 6]}]})"));
  EXPECT_EQ(layout.width, 64);
  EXPECT_EQ(layout.height, 32);
  EXPECT_EQ(layout.onto, folder_ / "base.png");
  ASSERT_EQ(layout.pieces.size(), 1U);
  EXPECT_EQ(layout.pieces[0].file, folder_ / "a/b.png");
  EXPECT_EQ(layout.pieces[0].from, (PixelBox{1, 2, 3, 4}));
  EXPECT_EQ(layout.pieces[0].to_y, 6);
}

TEST_F(LayoutFile, HostileFieldsAreOneLineThatNamesThem) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "a JSON object"},
      {"[]", "a JSON object"},
      {"{", "a JSON object"},
      {R"({"pieces": []})", "pieces: expected a list"},
      {R"({"pieces": 3})", "pieces: expected a list"},
      {R"({"width": "x", "pieces": [{}]})", "width: expected 1 whole numbers"},
      {R"({"width": -1, "pieces": [{}]})", "width: expected 1 whole numbers"},
      {R"({"height": 1e99, "pieces": [{}]})", "height: expected 1 whole numbers"},
      {R"({"onto": 5, "pieces": [{}]})", "onto: expected a file name"},
      {R"({"colour": 5, "pieces": [{}]})", "unknown field 'colour'"},
      {R"({"pieces": [{}]})", "pieces[0]: expected image, from and to"},
      {R"({"pieces": [{"image": "", "from": [0,0,1,1], "to": [0,0]}]})", "pieces[0].image: expected a file name"},
      {R"({"pieces": [{"image": "a", "from": [0,0,1], "to": [0,0]}]})", "pieces[0].from: expected 4"},
      {R"({"pieces": [{"image": "a", "from": [0,0,1,0], "to": [0,0]}]})", "pieces[0].from: expected a width"},
      {R"({"pieces": [{"image": "a", "from": [0,0,1,1], "to": [0,-1]}]})", "pieces[0].to: expected 2"},
      {R"({"pieces": [{"image": "a", "from": [0,0,1,1], "to": [0,99999999999]}]})", "pieces[0].to: expected 2"}};
  for (const auto& [text, expected] : cases) {
    const auto path = write(text);
    const auto message = error_of([&] { read_layout(path); });
    EXPECT_NE(message.find(expected), std::string::npos) << text << ": " << message;
    EXPECT_TRUE(message.starts_with(path.string())) << message;
  }
  EXPECT_NE(error_of([&] { read_layout(folder_ / "none.json"); }), "");
}

}  // namespace stitch_test
}  // namespace tessera
