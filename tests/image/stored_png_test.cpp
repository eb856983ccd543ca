#include "image/stored_png.h"

#include <gtest/gtest.h>

#include "runtime/error.h"

namespace tessera {
namespace stored_png_test {

TEST(StoredPng, IsReadAsItWasWrittenAndKeepsItsText) {
  if (!image_files_supported()) GTEST_SKIP() << "built without libvips";
  for (const auto& [width, height] : {std::pair(1, 1), std::pair(5, 4), std::pair(145, 150), std::pair(300, 220)}) {
    Image image(width, height);
    std::uint32_t state = 5;
    for (auto& value : image.pixels) value = static_cast<std::uint8_t>((state = state * 1664525 + 1013904223) >> 24);
    const auto png = encode_stored_png(image, {{"tessera", "{\"seed\":1}"}});
    EXPECT_EQ(read_image({reinterpret_cast<const std::uint8_t*>(png.data()), png.size()}, "stored"), image) << width;
    EXPECT_EQ(read_png_text(png, "stored"), (PngText{{"tessera", "{\"seed\":1}"}}));
  }
}

TEST(StoredPng, RefusesAnImageWithoutPixels) {
  EXPECT_THROW(encode_stored_png(Image()), Error);
}

}  // namespace stored_png_test
}  // namespace tessera
