#include "canvas/pixel_region.h"

#include <gtest/gtest.h>

#include "runtime/error.h"

namespace tessera {
namespace pixel_region_test {

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

TEST(PixelBox, ParsesFourWholeNumbers) {
  EXPECT_EQ(parse_pixel_box("1,2,30,40", "--box"), (PixelBox{1, 2, 30, 40}));
  for (const auto* wrong : {"", "1,2,3", "1,2,3,4,5", "1,2,0,4", "1,2,3,-4", "-1,2,3,4", "a,2,3,4", "1, 2,3,4",
                            "1,2,3,4 ", "1,2,3,99999999999", "1.5,2,3,4"}) {
    EXPECT_THROW(parse_pixel_box(wrong, "--box"), UsageError) << wrong;
  }
  EXPECT_EQ(error_of([] { parse_pixel_box("1,2", "--box"); }),
            "--box '1,2': expected x,y,w,h in whole pixels, w and h at least 1");
}

TEST(PixelMask, TakesTheBrightPixelsOfAPicture) {
  Image image(4, 2, {0, 0, 0});
  for (const auto& [x, y, level] : {std::tuple{1, 0, 255}, std::tuple{2, 1, 128}, std::tuple{3, 1, 127}}) {
    std::fill_n(image.at(x, y), 3, static_cast<std::uint8_t>(level));
  }
  std::vector<std::string> notes;
  const auto mask = PixelMask::from_image(image, "m.png", 4, 2, notes);
  EXPECT_EQ(mask.count(), 2);
  EXPECT_TRUE(mask.at(1, 0) && mask.at(2, 1));
  EXPECT_EQ(notes, (std::vector<std::string>{"mask m.png: its white pixels are taken, 25.0% of the picture"}));
  notes.clear();
  const auto larger = PixelMask::from_image(image, "m.png", 8, 4, notes);
  EXPECT_EQ(larger.count(), 8);
  EXPECT_EQ(larger.bounds(), (PixelBox{2, 0, 4, 4}));
  EXPECT_EQ(notes, (std::vector<std::string>{"mask m.png: scaled from 4x2 to 8x4",
                                             "mask m.png: its white pixels are taken, 25.0% of the picture"}));
}

/// Strokes of a colour on a transparent canvas of 4x2: the two pixels of the first column are drawn.
Image strokes(Colour colour) {
  Image image(4, 2, colour);
  image.rgba.assign(4 * 4 * 2, 0);
  for (int y = 0; y < 2; ++y) {
    const std::uint8_t pixel[4] = {colour.red, colour.green, colour.blue, 255};
    std::copy_n(pixel, 4, image.rgba_at(0, y));
  }
  return image;
}

TEST(PixelMask, OfAPictureWithTransparencyTheOpaqueStrokesAreTakenWhateverTheirColour) {
  for (const Colour colour : {Colour{255, 255, 255}, Colour{0, 0, 0}, Colour{255, 0, 0}}) {
    std::vector<std::string> notes;
    const auto mask = PixelMask::from_image(strokes(colour), "m.png", 4, 2, notes);
    EXPECT_EQ(mask.bounds(), (PixelBox{0, 0, 1, 2}));
    EXPECT_EQ(notes.at(0), "mask m.png: it has transparency, its opaque pixels are taken, 25.0% of the picture");
    const auto holes = PixelMask::from_image(strokes(colour), "m.png", 4, 2, notes, MaskReading::holes);
    EXPECT_EQ(holes.bounds(), (PixelBox{1, 0, 3, 2}));
    EXPECT_EQ(notes.at(1), "mask m.png: its transparent pixels are taken, 75.0% of the picture");
  }
}

TEST(PixelMask, TransparencyThatIsNowhereHalfCountsAsNone) {
  Image image(4, 2, {0, 0, 0});
  std::fill_n(image.at(3, 0), 3, 255);
  image.rgba.assign(4 * 4 * 2, 200);
  std::vector<std::string> notes;
  EXPECT_EQ(PixelMask::from_image(image, "m.png", 4, 2, notes).bounds(), (PixelBox{3, 0, 1, 1}));
  Image nothing(4, 2);
  nothing.rgba.assign(4 * 4 * 2, 0);
  EXPECT_EQ(error_of([&] { PixelMask::from_image(nothing, "m.png", 4, 2, notes); }),
            "mask m.png: all transparent, expected opaque strokes where the picture is meant");
}

TEST(PixelMask, BadMasksAreOneLine) {
  std::vector<std::string> notes;
  EXPECT_EQ(error_of([&] { PixelMask::from_image(Image(4, 4), "m.png", 8, 6, notes); }),
            "mask m.png: 4x4 pixels, expected 8x6 as the picture, or the same aspect");
  EXPECT_EQ(error_of([&] {
              PixelMask::from_image(Image(4, 4, {0, 0, 0}), "m.png", 4, 4, notes);
            }),
            "mask m.png: all black, expected white where the picture is meant");
  PixelMask mask(8, 6);
  EXPECT_EQ(error_of([&] {
              mask.add(PixelBox{5, 0, 4, 2}, "--box");
            }),
            "--box 5,0,4,2 leaves the picture of 8x6 pixels");
  EXPECT_NE(error_of([&] { mask.add(PixelBox{0, 5, 1, 2}, "--box"); }), "");
  EXPECT_EQ(mask.count(), 0);
  EXPECT_EQ(mask.bounds(), PixelBox{});
}

TEST(PixelMask, BecomesTheCellsItTouches) {
  PixelMask mask(10, 7);  // cells of 4: 3 columns, 2 rows, the last ones cut off
  mask.add(PixelBox{3, 3, 2, 1}, "box");
  mask.add(PixelBox{9, 6, 1, 1}, "box");
  const auto touched = torch::tensor({1, 1, 0, 0, 0, 1}).view({2, 3}).to(torch::kBool);
  EXPECT_TRUE(mask.cells(4).equal(touched));
  // The corner cell has 2 x 3 pixels, one of them set; the others hold one of 16.
  const auto corner = torch::tensor({0, 0, 0, 0, 0, 1}).view({2, 3}).to(torch::kBool);
  EXPECT_TRUE(mask.cells(4, 0.1).equal(corner));
  EXPECT_TRUE(mask.cells(4, 1.0 / 16).equal(touched));
  EXPECT_FALSE(mask.cells(4, 0.5).any().item<bool>());
  EXPECT_TRUE(mask.inverted().cells(4).all().item<bool>());
  EXPECT_EQ(mask.inverted().count(), 70 - mask.count());
}

TEST(PixelMask, FeatherFallsLinearlyWithTheChebyshevDistance) {
  PixelMask mask(40, 30);
  mask.add(PixelBox{10, 12, 3, 2}, "box");
  mask.add(PixelBox{30, 3, 1, 1}, "box");
  for (const int feather : {0, 1, 5}) {
    const auto alpha = mask.feathered(feather);
    for (int y = 0; y < 30; ++y) {
      for (int x = 0; x < 40; ++x) {
        int nearest = 1000;
        for (int v = 0; v < 30; ++v) {
          for (int u = 0; u < 40; ++u) {
            if (mask.at(u, v)) nearest = std::min(nearest, std::max(std::abs(u - x), std::abs(v - y)));
          }
        }
        const float expected =
            nearest > feather ? 0 : 1 - static_cast<float>(nearest) / static_cast<float>(feather + 1);
        EXPECT_FLOAT_EQ(alpha[y][x].item<float>(), expected) << x << " " << y << " " << feather;
      }
    }
  }
}

TEST(PixelMask, CutsAndJoins) {
  PixelMask mask(6, 6), other(6, 6);
  mask.add(PixelBox{4, 4, 2, 2}, "box");
  other.add(PixelBox{0, 0, 1, 1}, "box");
  mask.add(other);
  EXPECT_EQ(mask.count(), 5);
  const auto part = mask.cut({3, 3, 5, 5});  // beyond the border there is nothing
  EXPECT_EQ(part.width(), 5);
  EXPECT_EQ(part.count(), 4);
  EXPECT_EQ(part.bounds(), (PixelBox{1, 1, 2, 2}));
  EXPECT_THROW(mask.add(PixelMask(5, 6)), Error);
}

}  // namespace pixel_region_test
}  // namespace tessera
