// Pictures that are small files and gigabytes of pixels.
#include <gtest/gtest.h>

#include <thread>

#include "image/vips_files.h"
#include "support/resident.h"

#ifdef TESSERA_WITH_VIPS

namespace tessera::testing {
namespace decoding_budget_test {

/// A black picture's file; it has hardly any bytes whatever its size.
std::string black(int width, int height, int bands, VipsBandFormat format, const std::string& suffix) {
  encode_png(Image(1, 1));  // starts libvips
  VipsImage *plain = nullptr, *cast = nullptr;
  EXPECT_EQ(vips_black(&plain, width, height, "bands", bands, nullptr), 0);
  const VipsHandle owner(plain);
  EXPECT_EQ(vips_cast(plain, &cast, format, nullptr), 0);
  VipsHandle image(cast);
  image->Type = format == VIPS_FORMAT_USHORT ? VIPS_INTERPRETATION_RGB16 : VIPS_INTERPRETATION_sRGB;
  return save(image, suffix);
}

TEST(DecodingBudget, APictureThatNeedsMoreThanAllMayHaveIsRefusedUndecoded) {
  const auto file = black(8000, 8000, 4, VIPS_FORMAT_FLOAT, ".tif[compression=deflate]");
  ASSERT_LT(file.size(), std::size_t{32} << 20);
  const PeakMemory memory;
  try {
    (void)read_image(as_bytes(file), "bomb.tif");
    FAIL() << "expected an Error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("bomb.tif: 8000x8000 pixels of 16 bytes need"), std::string::npos)
        << error.what();
  }
  EXPECT_LT(memory.grown(), 100);
}

TEST(DecodingBudget, PicturesAtOneTimeShareIt) {
  const auto file = black(6000, 6000, 3, VIPS_FORMAT_USHORT, ".png[compression=9]");
  ASSERT_LT(file.size(), std::size_t{4} << 20);
  const PeakMemory memory;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] { EXPECT_EQ(read_image(as_bytes(file), "large.png").width, 6000); });
    }
  }
  EXPECT_LT(memory.grown(), 850);  // four of them would be 1,236
}

TEST(DecodingBudget, StripsMakeTheWholePicture) {
  const auto image = quarters(50, 333);  // more than one strip, the last one short
  const auto read = read_image(as_bytes(encode_png(image)), "quarters.png");
  EXPECT_EQ(read.pixels, image.pixels);
}

}  // namespace decoding_budget_test
}  // namespace tessera::testing

#endif
