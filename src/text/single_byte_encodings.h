/// Encodings of one byte a character that UTF-8 is often read as by mistake.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace tessera {

/// Stands for a byte that was lost on the way (U+FFFD in its place).
inline constexpr int kLostByte = 0x1A;

struct SingleByteEncoding {
  const char* name;
  const char16_t* high;  // [128], what 0x80 to 0xff stand for; bytes below are ASCII
  bool lossy;            // a Windows code page: U+FFFD is kLostByte, which no text then has

  char32_t code_of(unsigned char byte) const { return byte >= 0x80 ? high[byte - 0x80] : byte; }
  /// The byte of a character; -1: there is none.
  int byte_of(char32_t code) const;
  /// The bytes of a text; nothing: a character has none.
  std::optional<std::string> encode(const std::u32string& text) const;
};

/// In the order in which they are tried: latin-1, windows-1252, -1251, -1250, -1253, -1254, -1257, iso-8859-2,
/// macroman, cp437.
std::span<const SingleByteEncoding> single_byte_encodings();

/// One of them by its name. Throws Error on another.
const SingleByteEncoding& single_byte_encoding(std::string_view name);

}  // namespace tessera
