#include "text/mojibake.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "text/single_byte_encodings.h"
#include "text/text_cleaning.h"
#include "text/unicode.h"

namespace tessera {
namespace mojibake_test {

nlohmann::json read_json(const std::string& path) {
  std::ifstream file(path);
  return nlohmann::json::parse(file, nullptr, false);
}

void expect_repaired(const std::string& file, std::size_t least) {
  const auto fixture = read_json(std::string(TESSERA_SOURCE_DIR) + "/tests/fixtures/mojibake/" + file);
  ASSERT_TRUE(fixture.is_object());
  ASSERT_GE(fixture["cases"].size(), least);
  for (const auto& entry : fixture["cases"]) {
    const auto text = entry["text"].get<std::string>();
    EXPECT_EQ(repair_text(text), entry["repaired"].get<std::string>()) << text;
  }
}

TEST(Parity, MisreadTextIsRepairedAsThePublishedLibraryDoes) {
  expect_repaired("cases.json", 160);
}

TEST(Parity, PromptsOfAllKindsAreRepairedAsThePublishedLibraryDoes) {
  expect_repaired("prompts.json", 500);
}

TEST(Mojibake, NamesOfReferencesInCapitalsAreReadWhereNoneBeginsThem) {
  EXPECT_EQ(repair_text("&NTILDE; &FRAC14; &SZLIG; &FFLIG;"), "\u00D1 \u00BC SS FF");
  // "&GT" is one already, whatever follows; no small name stands for a mixed one.
  EXPECT_EQ(repair_text("&GTDOT; &nTILDE;"), "&GTDOT; &nTILDE;");
}

TEST(Mojibake, LongTextsAreRepairedInSegmentsOfAMillionCharacters) {
  // The segment ends within the misread letter: neither half says what it was.
  std::string text(999'999, 'a');
  text += "\u00C3\u00A9 \u00C3\u00BC";
  EXPECT_EQ(repair_text(text).substr(999'999), "\u00C3\u00A9 \u00FC");
  text[999'998] = '\n';
  EXPECT_EQ(repair_text(text).substr(999'999), "\u00E9 \u00FC");
}

/// A text's UTF-8 read in an encoding.
std::string misread(const std::string& text, const SingleByteEncoding& encoding) {
  std::string out;
  for (const char c : text) append_utf8(out, encoding.code_of(static_cast<unsigned char>(c)));
  return out;
}

TEST(Mojibake, ATextComesBackFromEveryEncodingAlsoTwice) {
  const std::string text = "une forêt d'été à Besançon, vue de près – déjà 20 °C";
  for (const auto& encoding : single_byte_encodings()) {
    const auto once = misread(text, encoding);
    EXPECT_EQ(encode_utf8(mend_misread(decode_utf8(once, "text"))), text) << encoding.name;
    EXPECT_EQ(encode_utf8(mend_misread(decode_utf8(misread(once, encoding), "text"))), text) << encoding.name;
  }
}

TEST(Mojibake, EncodingsHaveABytesForEachOfTheirCharacters) {
  for (const auto& encoding : single_byte_encodings()) {
    for (int byte = 0; byte < 256; ++byte) {
      if (encoding.lossy && byte == kLostByte) continue;
      EXPECT_EQ(encoding.byte_of(encoding.code_of(static_cast<unsigned char>(byte))), byte) << encoding.name;
    }
    EXPECT_EQ(encoding.byte_of(0x4E00), -1);
  }
  EXPECT_EQ(single_byte_encoding("cp437").code_of(0x82), U'\u00E9');
  EXPECT_EQ(single_byte_encoding("macroman").code_of(0x8E), U'\u00E9');
}

TEST(Mojibake, PlainTextIsLeftAlone) {
  for (const char* text :
       {"", "a red kite", "naïve café, 3 × 4 = 12", "日本語の文章", "Москва – Київ", "Ελλάδα", "«bonjour»", "🙂"}) {
    EXPECT_EQ(encode_utf8(mend_misread(decode_utf8(text, "text"))), text);
    EXPECT_FALSE(looks_misread(decode_utf8(text, "text"))) << text;
  }
}

TEST(Mojibake, EndsOnAnyTextWithinItsTime) {
  std::uint32_t state = 5;
  const auto& tables = single_byte_encodings();
  for (int round = 0; round < 60; ++round) {
    std::u32string text;
    for (int i = 0; i < 400; ++i) {
      state = state * 1664525 + 1013904223;
      text.push_back(
          tables[(state >> 8) % tables.size()].code_of(static_cast<unsigned char>(0x80 + (state >> 20) % 128)));
    }
    (void)mend_misread(text);
  }
  (void)mend_misread(std::u32string(4096, U'\u00C3'));
}

}  // namespace mojibake_test
}  // namespace tessera
