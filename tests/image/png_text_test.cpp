#include <gtest/gtest.h>

#include <filesystem>

#include "image/image_io.h"
#include "runtime/atomic_file.h"
#include "runtime/error.h"

namespace tessera {
namespace png_text_test {

/// A PNG of one grey pixel, written by hand: this file is tested without libvips too.
const std::string kSmallest(
    "\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0\x3a\x7e\x9b\x55"
    "\0\0\0\x0aIDAT\x08\xd7\x63\x68\0\0\0\x82\0\x81\x77\xcd\x72\xb6\0\0\0\0IEND\xae\x42\x60\x82",
    67);

const PngText kText = {{"prompt", "a red fox"},
                       {"parameters", "steps: 20\nseed: 7"},
                       {"author", "Zo\xc3\xab \xe2\x9c\x93"},
                       {"empty", ""}};

TEST(PngText, ComesBackAsItWasPutIn) {
  const auto png = with_png_text(kSmallest, kText);
  EXPECT_EQ(read_png_text(png, "small.png"), kText);
  EXPECT_EQ(read_png_text(kSmallest, "small.png"), PngText{});
}

TEST(PngText, IsWrittenToFilesWithTheirPixels) {
  if (!image_files_supported()) GTEST_SKIP() << "built without libvips";
  const auto path = std::filesystem::path(::testing::TempDir()) / "tessera_png_text_test.png";
  const Image image(5, 4, {1, 2, 3});
  write_png(path, image, kText);
  EXPECT_EQ(read_png_text(path), kText);
  EXPECT_EQ(read_image(path), image);
  std::filesystem::remove(path);
}

/// CRC-32 bit by bit, independent of the table under test.
std::uint32_t slow_crc(std::string_view bytes) {
  std::uint32_t crc = 0xffffffffU;
  for (const char byte : bytes) {
    crc ^= static_cast<std::uint8_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb88320U : 0U);
  }
  return ~crc;
}

TEST(PngText, LatinLettersOfTextChunksBecomeUtf8) {
  auto png = with_png_text(kSmallest, {{"key", "caf_"}});
  const auto at = png.find("tEXt");
  png[at + 4 + 4 + 3] = '\xe9';
  EXPECT_THROW(read_png_text(png, "x.png"), Error) << "the checksum is wrong now";
  const auto crc = slow_crc(std::string_view(png).substr(at, 12));
  for (int i = 0; i < 4; ++i) png[at + 12 + static_cast<std::size_t>(i)] = static_cast<char>(crc >> (24 - 8 * i));
  EXPECT_EQ(read_png_text(png, "x.png"), (PngText{{"key", "caf\xc3\xa9"}}));
}

TEST(PngText, RejectsKeywordsAndValuesThatPngCannotHold) {
  EXPECT_THROW(with_png_text(kSmallest, {{"", "x"}}), Error);
  EXPECT_THROW(with_png_text(kSmallest, {{std::string(80, 'k'), "x"}}), Error);
  EXPECT_THROW(with_png_text(kSmallest, {{"k\xc3\xa9y", "x"}}), Error);
  EXPECT_THROW(with_png_text(kSmallest, {{"key", std::string("a\0b", 3)}}), Error);
  EXPECT_THROW(with_png_text("not a picture", {{"key", "x"}}), Error);
}

TEST(PngText, EveryTruncationIsAnError) {
  const auto png = with_png_text(kSmallest, kText);
  for (std::size_t size = 0; size < png.size(); ++size) {
    EXPECT_THROW(read_png_text(std::string_view(png).substr(0, size), "cut.png"), Error) << size;
  }
}

TEST(PngText, HostileChunkLengthsAreErrors) {
  auto png = with_png_text(kSmallest, {{"key", "value"}});
  png.replace(33, 4, "\xff\xff\xff\xff");
  EXPECT_THROW(read_png_text(png, "x.png"), Error);
  png.replace(33, 4, std::string("\0\0\xff\0", 4));
  EXPECT_THROW(read_png_text(png, "x.png"), Error);
}

}  // namespace png_text_test
}  // namespace tessera
