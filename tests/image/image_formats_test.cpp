#include "image/vips_files.h"

#ifdef TESSERA_WITH_VIPS

namespace tessera::testing {
namespace image_formats_test {

struct Format {
  const char* name;
  const char* suffix;
  int tolerance;  // of lossy coding, levels of 255
};

class EveryFormat : public ::testing::TestWithParam<Format> {};

TEST_P(EveryFormat, IsReadAsItWasWritten) {
  const Image image = quarters(48, 32);
  const auto bytes = save(image, GetParam().suffix);
  EXPECT_LE(difference(read_image(as_bytes(bytes), "picture"), image), GetParam().tolerance);
}

TEST_P(EveryFormat, IsAnErrorWhenTruncated) {
  Image noise(64, 64);  // so that half the file is half the pixels
  std::uint32_t state = 1;
  for (auto& value : noise.pixels) value = static_cast<std::uint8_t>((state = state * 1664525 + 1013904223) >> 24);
  const auto bytes = save(noise, GetParam().suffix);
  for (const std::size_t size : {bytes.size() / 2, std::size_t{40}, std::size_t{12}, std::size_t{3}, std::size_t{0}}) {
    const auto message = error_of([&] { read_image(as_bytes(bytes.substr(0, size)), "half.file"); });
    EXPECT_NE(message.find("half.file"), std::string::npos) << GetParam().name << " cut to " << size << ": " << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  }
}

TEST_P(EveryFormat, IsRefusedWithMorePixelsThanAllowed) {
  const auto bytes = save(quarters(48, 32), GetParam().suffix);
  ReadOptions options;
  options.max_pixels = 48 * 32 - 1;
  const auto message = error_of([&] { read_image(as_bytes(bytes), "large", options); });
  EXPECT_NE(message.find("48x32"), std::string::npos) << message;
}

TEST_P(EveryFormat, SurvivesFlippedBytes) {
  const auto bytes = save(quarters(24, 24), GetParam().suffix);
  std::uint32_t state = 7;
  for (int i = 0; i < 150; ++i) {
    auto broken = bytes;
    for (int flips = 0; flips < 3; ++flips) {
      state = state * 1664525 + 1013904223;
      broken[(state >> 8) % broken.size()] = static_cast<char>(state >> 3);
    }
    try {
      const Image image = read_image(as_bytes(broken), "broken");
      EXPECT_EQ(image.pixels.size(), 3U * image.width * image.height);
    } catch (const Error&) {
      // an error is as good as a picture: only a crash is not
    }
  }
}

INSTANTIATE_TEST_SUITE_P(ImageFormats, EveryFormat,
                         ::testing::Values(Format{"Png", ".png", 0}, Format{"Jpeg", ".jpg[Q=95,no-subsample]", 60},
                                           Format{"Webp", ".webp[lossless]", 0},
                                           Format{"Tiff", ".tif[compression=deflate]", 0}, Format{"Gif", ".gif", 0}),
                         [](const auto& format) { return std::string(format.param.name); });

std::string big_endian(std::uint32_t value, int bytes) {
  std::string text;
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) text.push_back(static_cast<char>(value >> shift));
  return text;
}

TEST(HostileImages, HugePngHeaderIsRefusedBeforeDecoding) {
  auto bytes = encode_png(quarters(8, 8));
  bytes.replace(16, 8, big_endian(60000, 4) + big_endian(60000, 4));
  EXPECT_NE(error_of([&] { read_image(as_bytes(bytes), "bomb.png"); }).find("bomb.png"), std::string::npos);
  // The same with a right checksum, so that only the size is wrong: the file of a picture of zeros.
  const auto message = error_of([&] {
    VipsImage* black = nullptr;
    vips_black(&black, 12000, 12000, nullptr);
    read_image(as_bytes(save(VipsHandle(black), ".png[bitdepth=1]")), "zeros.png");
  });
  EXPECT_NE(message.find("12000x12000"), std::string::npos) << message;
}

TEST(HostileImages, HugeJpegGifAndTiffHeadersAreRefused) {
  auto jpeg = save(quarters(16, 16), ".jpg");
  const auto frame = jpeg.find(std::string("\xff\xc0\x00\x11\x08", 5));
  ASSERT_NE(frame, std::string::npos);
  jpeg.replace(frame + 5, 4, big_endian(65000, 2) + big_endian(65000, 2));
  EXPECT_NE(error_of([&] { read_image(as_bytes(jpeg), "bomb.jpg"); }).find("65000x65000"), std::string::npos);

  auto gif = save(quarters(16, 16), ".gif");
  const auto descriptor = gif.find(std::string(",\0\0\0\0\x10\0\x10\0", 9));  // of the first frame
  ASSERT_NE(descriptor, std::string::npos);
  gif.replace(6, 4, "\xff\xff\xff\xff").replace(descriptor + 5, 4, "\xff\xff\xff\xff");
  EXPECT_NE(error_of([&] { read_image(as_bytes(gif), "bomb.gif"); }).find("bomb.gif"), std::string::npos);

  std::string tiff("II*\0\x08\0\0\0\x02\0", 10);  // a directory of two entries: width and height, nothing else
  tiff += std::string("\0\x01\x04\0\x01\0\0\0\xff\xff\xff\x7f", 12) +
          std::string("\x01\x01\x04\0\x01\0\0\0\xff\xff\xff\x7f", 12);
  tiff += std::string(4, '\0');
  EXPECT_NE(error_of([&] { read_image(as_bytes(tiff), "bomb.tif"); }).find("bomb.tif"), std::string::npos);
}

TEST(HostileImages, AnAnimationOfVeryManyFramesIsRefusedUnread) {
  const std::string frame("ANMF\1\0\0\0x\0", 10);  // padded to an even length
  std::string webp("RIFF\xff\xff\xff\x7fWEBPVP8X\x0a\0\0\0\2\0\0\0\x3f\0\0\x3f\0\0", 30);
  for (int i = 0; i <= 10'000; ++i) webp += frame;
  EXPECT_NE(error_of([&] { read_image(as_bytes(webp), "x.webp"); }).find("x.webp: more than 10000 frames"),
            std::string::npos);
}

TEST(HostileImages, OtherFormatsAreNotEvenTried) {
  for (const char* text : {"<svg xmlns=\"http://www.w3.org/2000/svg\"/>", "%PDF-1.4", "P6 1 1 255 abc", "hello"}) {
    const auto message = error_of([&] { read_image(as_bytes(std::string(text)), "x.png"); });
    EXPECT_NE(message.find("not an image"), std::string::npos) << text << ": " << message;
  }
}

TEST(ImageColour, GreyBecomesRgb) {
  const auto grey =
      vips_from(std::vector<std::uint8_t>{0, 100, 200, 255}, 2, 2, 1, VIPS_FORMAT_UCHAR, VIPS_INTERPRETATION_B_W);
  const Image image = read_image(as_bytes(save(grey, ".png")), "grey");
  EXPECT_EQ(image.pixels, (std::vector<std::uint8_t>{0, 0, 0, 100, 100, 100, 200, 200, 200, 255, 255, 255}));
}

TEST(ImageColour, OneBitGreyBecomesBlackAndWhite) {
  const auto grey =
      vips_from(std::vector<std::uint8_t>{0, 255, 255, 0}, 2, 2, 1, VIPS_FORMAT_UCHAR, VIPS_INTERPRETATION_B_W);
  const Image image = read_image(as_bytes(save(grey, ".png[bitdepth=1]")), "bits");
  EXPECT_EQ(image.at(0, 0)[0], 0);
  EXPECT_EQ(image.at(1, 0)[1], 255);
}

TEST(ImageColour, PaletteBecomesRgb) {
  const Image image = quarters(16, 16);
  const auto bytes = save(image, ".png[palette]");
  ASSERT_NE(bytes.find("PLTE"), std::string::npos);
  EXPECT_EQ(difference(read_image(as_bytes(bytes), "palette"), image), 0);
}

TEST(ImageColour, SixteenBitsKeepTheirHighByte) {
  const std::vector<std::uint16_t> values = {0, 257 * 10, 257 * 255, 257 * 128, 65535, 300, 1000, 2000, 30000, 1, 2, 3};
  std::vector<std::uint8_t> expected;
  for (const auto value : values) expected.push_back(static_cast<std::uint8_t>(value >> 8));
  const auto rgb = vips_from(values, 2, 2, 3, VIPS_FORMAT_USHORT, VIPS_INTERPRETATION_RGB16);
  for (const char* suffix : {".png", ".tif"})
    EXPECT_EQ(read_image(as_bytes(save(rgb, suffix)), suffix).pixels, expected) << suffix;
  const auto grey = vips_from(std::vector<std::uint16_t>{0, 65535, 257 * 77, 257}, 2, 2, 1, VIPS_FORMAT_USHORT,
                              VIPS_INTERPRETATION_GREY16);
  const Image image = read_image(as_bytes(save(grey, ".png")), "grey16");
  EXPECT_EQ(image.at(0, 1)[0], 77);
  EXPECT_EQ(image.at(1, 0)[2], 255);
}

TEST(ImageColour, TransparencyIsCompositedOnTheBackground) {
  const auto rgba = vips_from(std::vector<std::uint8_t>{255, 0, 0, 255, 255, 0, 0, 0, 255, 0, 0, 128}, 3, 1, 4,
                              VIPS_FORMAT_UCHAR, VIPS_INTERPRETATION_sRGB);
  ReadOptions options;
  options.background = {0, 0, 200};
  for (const char* suffix : {".png", ".tif", ".webp[lossless]"}) {
    const Image image = read_image(as_bytes(save(rgba, suffix)), suffix, options);
    EXPECT_EQ(image.at(0, 0)[0], 255) << suffix;
    EXPECT_EQ(image.at(0, 0)[2], 0) << suffix;
    EXPECT_EQ(image.at(1, 0)[0], 0) << suffix;
    EXPECT_EQ(image.at(1, 0)[2], 200) << suffix;
    EXPECT_NEAR(image.at(2, 0)[0], 128, 1) << suffix;
    EXPECT_NEAR(image.at(2, 0)[2], 100, 1) << suffix;
  }
}

TEST(ImageColour, SixteenBitTransparencyAndGreyTransparencyToo) {
  ReadOptions options;
  options.background = {0, 100, 0};
  const auto deep = vips_from(std::vector<std::uint16_t>{65535, 65535, 65535, 32896, 65535, 0, 0, 0}, 2, 1, 4,
                              VIPS_FORMAT_USHORT, VIPS_INTERPRETATION_RGB16);
  const Image image = read_image(as_bytes(save(deep, ".png")), "deep", options);
  EXPECT_NEAR(image.at(0, 0)[0], 128, 1);
  EXPECT_NEAR(image.at(0, 0)[1], 178, 1);
  EXPECT_EQ(image.at(1, 0)[0], 0);
  EXPECT_EQ(image.at(1, 0)[1], 100);
  const auto grey =
      vips_from(std::vector<std::uint8_t>{200, 0, 200, 255}, 2, 1, 2, VIPS_FORMAT_UCHAR, VIPS_INTERPRETATION_B_W);
  const Image flat = read_image(as_bytes(save(grey, ".png")), "grey", options);
  EXPECT_EQ(flat.at(0, 0)[1], 100);
  EXPECT_EQ(flat.at(0, 0)[0], 0);
  EXPECT_EQ(flat.at(1, 0)[0], 200);
}

TEST(ImageColour, CmykBecomesRgb) {
  std::vector<std::uint8_t> values;
  for (int i = 0; i < 256; ++i) values.insert(values.end(), {0, 0, 0, 0});
  const auto paper = vips_from(values, 16, 16, 4, VIPS_FORMAT_UCHAR, VIPS_INTERPRETATION_CMYK);
  for (const char* suffix : {".jpg", ".tif"}) {
    const Image image = read_image(as_bytes(save(paper, suffix)), suffix);
    EXPECT_GT(image.at(8, 8)[0], 230) << suffix;
    EXPECT_GT(image.at(8, 8)[2], 230) << suffix;
  }
}

TEST(ImageOrientation, EveryExifValueIsTurnedUpright) {
  // What the pixels of an upright picture become when a camera stores them with orientation 1 to 8.
  const Image upright = quarters(24, 16);
  const VipsAngle angles[9] = {VIPS_ANGLE_D0,   VIPS_ANGLE_D0,   VIPS_ANGLE_D0,  VIPS_ANGLE_D180, VIPS_ANGLE_D180,
                               VIPS_ANGLE_D270, VIPS_ANGLE_D270, VIPS_ANGLE_D90, VIPS_ANGLE_D90};
  for (int orientation = 1; orientation <= 8; ++orientation) {
    const bool mirrored = orientation == 2 || orientation == 4 || orientation == 5 || orientation == 7;
    VipsHandle stored = vips_from(upright);
    VipsImage* out = nullptr;
    if (mirrored) {
      ASSERT_EQ(vips_flip(stored.get(), &out, VIPS_DIRECTION_HORIZONTAL, nullptr), 0);
      stored.reset(out);
    }
    ASSERT_EQ(vips_rot(stored.get(), &out, angles[orientation], nullptr), 0);
    stored.reset(out);
    vips_image_set_int(stored.get(), VIPS_META_ORIENTATION, orientation);
    const Image image = read_image(as_bytes(save(stored, ".jpg[Q=95,no-subsample]")), "photo");
    EXPECT_LE(difference(image, upright), 60) << "orientation " << orientation;
  }
}

TEST(ImageResize, KeepsAConstantColourAndHitsTheExactSize) {
  const Image image(37, 53, {10, 200, 90});
  for (const auto& [width, height] : {std::pair{8, 8}, {64, 64}, {37, 1}, {1, 53}, {100, 7}}) {
    const Image resized = resize_exact(image, width, height);
    EXPECT_EQ(difference(resized, Image(width, height, {10, 200, 90})), 0);
  }
}

TEST(ImageResize, ShorterSideFitsAndTheCentreStays) {
  const Image wide = resize_and_crop(quarters(96, 32), 16);
  ASSERT_EQ(wide.width, 16);
  ASSERT_EQ(wide.height, 16);
  EXPECT_GT(wide.at(2, 2)[0], 250);    // red is left of the middle
  EXPECT_GT(wide.at(13, 2)[1], 250);   // green right of it
  EXPECT_GT(wide.at(13, 13)[0], 250);  // yellow below
  EXPECT_EQ(resize_and_crop(quarters(16, 16), 16), quarters(16, 16));
  for (int width = 33; width < 60; ++width) EXPECT_EQ(resize_and_crop(Image(width, 33), 32).width, 32);
  EXPECT_THROW(resize_and_crop(Image(4, 4), 0), Error);
}

}  // namespace image_formats_test
}  // namespace tessera::testing

#endif
