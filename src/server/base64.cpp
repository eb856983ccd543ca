#include "server/base64.h"

#include <array>
#include <cstdint>

#include "runtime/error.h"

namespace tessera::server {
namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::array<std::int8_t, 256> digits() {
  std::array<std::int8_t, 256> table{};
  table.fill(-1);
  for (std::size_t i = 0; i < kAlphabet.size(); ++i) {
    table[static_cast<unsigned char>(kAlphabet[i])] = static_cast<std::int8_t>(i);
  }
  return table;
}

constexpr auto kDigits = digits();

}  // namespace

std::string to_base64(std::string_view bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  const auto byte = [&](std::size_t at) {
    return at < bytes.size() ? static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[at])) : 0U;
  };
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const auto triple = byte(i) << 16 | byte(i + 1) << 8 | byte(i + 2);
    text += kAlphabet[triple >> 18];
    text += kAlphabet[triple >> 12 & 63];
    text += i + 1 < bytes.size() ? kAlphabet[triple >> 6 & 63] : '=';
    text += i + 2 < bytes.size() ? kAlphabet[triple & 63] : '=';
  }
  return text;
}

std::string from_base64(std::string_view text, std::string_view what) {
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3);
  std::uint32_t pending = 0;
  int bits = 0;
  std::size_t count = 0, padding = 0;
  for (const char c : text) {
    if (c == '\n' || c == '\r' || c == ' ' || c == '\t') continue;
    if (c == '=') {
      ++padding;
      continue;
    }
    const auto digit = kDigits[static_cast<unsigned char>(c)];
    require(digit >= 0 && padding == 0, "{}: not base64 at character {}", what, count + padding + 1);
    pending = (pending << 6 | static_cast<std::uint32_t>(digit)) & 0xffffff;
    ++count;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes += static_cast<char>(pending >> bits & 0xff);
    }
  }
  require(count % 4 != 1 && padding <= 2, "{}: base64 that ends in the middle", what);
  return bytes;
}

std::string from_data_uri(std::string_view text, std::string_view what) {
  if (!text.starts_with("data:")) return from_base64(text, what);
  const auto comma = text.find(',');
  require(comma != std::string_view::npos && text.substr(0, comma).ends_with(";base64"),
          "{}: expected data:TYPE;base64,...", what);
  return from_base64(text.substr(comma + 1), what);
}

std::string to_data_uri(std::string_view media_type, std::string_view bytes) {
  return fmt::format("data:{};base64,{}", media_type, to_base64(bytes));
}

}  // namespace tessera::server
