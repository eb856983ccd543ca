#include "data/text_bytes.h"

#include <cstdint>

#include "data/file_names.h"
#include "text/unicode.h"

namespace tessera {
namespace {

constexpr char32_t kReplacement = 0xfffd;
constexpr std::string_view kUtf8Mark = "\xef\xbb\xbf";

/// One unit of `width` bytes.
std::uint32_t unit_at(std::string_view bytes, std::size_t at, std::size_t width, bool big_endian) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < width; ++i) {
    const auto byte = static_cast<unsigned char>(bytes[at + (big_endian ? i : width - 1 - i)]);
    value = (value << 8) | byte;
  }
  return value;
}

void append_code(std::string& out, std::uint32_t code, bool& broken) {
  const bool valid = code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff);
  broken = broken || !valid;
  append_utf8(out, valid ? static_cast<char32_t>(code) : kReplacement);
}

/// UTF-16 and UTF-32; in `broken`, whether something stood there that is neither.
std::string decode_units(std::string_view bytes, std::size_t width, bool big_endian, bool& broken) {
  std::string text;
  for (std::size_t at = 0; at < bytes.size(); at += width) {
    if (bytes.size() - at < width) {
      append_code(text, 0xd800, broken);
      break;
    }
    auto code = unit_at(bytes, at, width, big_endian);
    const bool leads = width == 2 && code >= 0xd800 && code < 0xdc00 && bytes.size() - at >= 4;
    if (leads) {
      const auto next = unit_at(bytes, at + 2, 2, big_endian);
      if (next >= 0xdc00 && next < 0xe000) {
        code = 0x10000 + ((code - 0xd800) << 10) + (next - 0xdc00);
        at += 2;
      }
    }
    append_code(text, code, broken);
  }
  return text;
}

DecodedText decoded_units(std::string_view bytes, std::size_t width, bool big_endian) {
  bool broken = false;
  auto text = decode_units(bytes, width, big_endian, broken);
  return {std::move(text), broken ? "" : width == 2 ? "UTF-16" : "UTF-32"};
}

/// UTF-16 without a mark: one of the two bytes of nearly every character is zero, the other is not.
bool is_unmarked_utf16(std::string_view bytes, bool big_endian) {
  if (bytes.size() < 4 || bytes.size() % 2 != 0) return false;
  std::size_t high_zeros = 0, low_zeros = 0;
  for (std::size_t at = 0; at < bytes.size(); at += 2) {
    high_zeros += bytes[at + (big_endian ? 0 : 1)] == '\0';
    low_zeros += bytes[at + (big_endian ? 1 : 0)] == '\0';
  }
  return low_zeros == 0 && 10 * high_zeros >= 7 * (bytes.size() / 2);
}

/// Bytes to which windows-1252 gives no character, and controls that no text has.
bool is_windows_1252(std::string_view bytes) {
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte == 0x81 || byte == 0x8d || byte == 0x8f || byte == 0x90 || byte == 0x9d) return false;
    if (byte < 0x20 && byte != '\t' && byte != '\n' && byte != '\r' && byte != '\f') return false;
  }
  return true;
}

}  // namespace

DecodedText decode_text(std::string_view bytes) {
  using namespace std::string_view_literals;
  if (bytes.starts_with(kUtf8Mark) && is_valid_utf8(bytes))
    return {std::string(bytes.substr(3)), "UTF-8 with a byte order mark"};
  if (bytes.starts_with("\xff\xfe\0\0"sv)) return decoded_units(bytes.substr(4), 4, false);
  if (bytes.starts_with("\0\0\xfe\xff"sv)) return decoded_units(bytes.substr(4), 4, true);
  if (bytes.starts_with("\xff\xfe"sv)) return decoded_units(bytes.substr(2), 2, false);
  if (bytes.starts_with("\xfe\xff"sv)) return decoded_units(bytes.substr(2), 2, true);
  for (const bool big_endian : {false, true}) {
    if (is_unmarked_utf16(bytes, big_endian)) return decoded_units(bytes, 2, big_endian);
  }
  if (is_valid_utf8(bytes)) return {std::string(bytes), "UTF-8"};
  if (!is_windows_1252(bytes)) return {valid_utf8(bytes), ""};
  std::string text;
  for (const char c : bytes) append_utf8(text, windows_1252(static_cast<unsigned char>(c)));
  return {std::move(text), "windows-1252"};
}

}  // namespace tessera
