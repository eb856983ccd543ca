/// Text chunks of PNG files, and PNG files of stored pixels. Format: www.w3.org/TR/png-3, sections 5 (chunks)
/// and 11.3.3 (tEXt, iTXt).
#include <array>
#include <cstring>

#include "image/image_io.h"
#include "image/stored_png.h"
#include "runtime/atomic_file.h"
#include "runtime/error.h"

namespace tessera {
namespace {

constexpr std::string_view kSignature("\x89PNG\r\n\x1a\n", 8);
constexpr std::size_t kHeaderEnd = 8 + 12 + 13;  // the signature and the IHDR chunk
constexpr std::size_t kMaxTextBytes = std::size_t{16} << 20;

constexpr std::array<std::uint32_t, 256> make_crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t n = 0; n < 256; ++n) {
    std::uint32_t value = n;
    for (int bit = 0; bit < 8; ++bit) value = (value & 1) ? 0xedb88320U ^ (value >> 1) : value >> 1;
    table[n] = value;
  }
  return table;
}
constexpr auto kCrcTable = make_crc_table();

std::uint32_t crc32(std::string_view bytes) {
  std::uint32_t crc = 0xffffffffU;
  for (const char byte : bytes) crc = kCrcTable[(crc ^ static_cast<std::uint8_t>(byte)) & 0xff] ^ (crc >> 8);
  return crc ^ 0xffffffffU;
}

std::uint32_t big_endian(std::string_view bytes) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<std::uint8_t>(bytes[i]);
  return value;
}

void append_big_endian(std::string& out, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(value >> shift));
}

bool is_ascii(std::string_view text) {
  for (const char c : text) {
    if (static_cast<std::uint8_t>(c) >= 0x80) return false;
  }
  return true;
}

/// In: type and data of a chunk.
void append_chunk(std::string& out, const std::string& chunk) {
  append_big_endian(out, static_cast<std::uint32_t>(chunk.size() - 4));
  out += chunk;
  append_big_endian(out, crc32(chunk));
}

/// A zlib stream (RFC 1950) of stored blocks (RFC 1951, section 3.2.4).
std::string stored_zlib(std::string_view bytes) {
  constexpr std::size_t kBlock = 65535;
  std::string out("\x78\x01", 2);
  std::uint32_t a = 1, b = 0;  // Adler-32
  for (std::size_t at = 0; at == 0 || at < bytes.size(); at += kBlock) {
    const auto block = bytes.substr(at, kBlock);
    out.push_back(at + kBlock >= bytes.size() ? 1 : 0);
    for (const auto size : {block.size(), ~block.size()}) {
      out.push_back(static_cast<char>(size & 0xff));
      out.push_back(static_cast<char>(size >> 8 & 0xff));
    }
    out += block;
    for (const char byte : block) {
      a = (a + static_cast<std::uint8_t>(byte)) % 65521;
      b = (b + a) % 65521;
    }
  }
  append_big_endian(out, b << 16 | a);
  return out;
}

void append_text_chunk(std::string& out, const std::string& key, const std::string& value) {
  require(!key.empty() && key.size() <= 79 && is_ascii(key) && key.find('\0') == std::string::npos,
          "PNG text keyword '{}': expected 1 to 79 ASCII characters", key);
  require(value.size() <= kMaxTextBytes, "PNG text '{}': {} bytes, expected at most {}", key, value.size(),
          kMaxTextBytes);
  require(value.find('\0') == std::string::npos, "PNG text '{}': holds a zero byte", key);
  std::string chunk = is_ascii(value) ? "tEXt" : "iTXt";
  chunk += key;
  chunk.push_back('\0');
  if (chunk[0] == 'i') chunk.append(4, '\0');  // not compressed, method 0, no language tag, no translated keyword
  chunk += value;
  append_chunk(out, chunk);
}

/// Latin-1, the character set of tEXt, as UTF-8.
std::string latin1_to_utf8(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<std::uint8_t>(c);
    if (byte < 0x80) {
      out.push_back(c);
    } else {
      out.push_back(static_cast<char>(0xc0 | byte >> 6));
      out.push_back(static_cast<char>(0x80 | (byte & 0x3f)));
    }
  }
  return out;
}

/// Takes the part up to the next zero byte off the front. False where there is none.
bool take_until_zero(std::string_view& rest, std::string_view& part) {
  const auto zero = rest.find('\0');
  if (zero == std::string_view::npos) return false;
  part = rest.substr(0, zero);
  rest.remove_prefix(zero + 1);
  return true;
}

}  // namespace

std::string with_png_text(std::string_view png, const PngText& text) {
  require(png.size() >= kHeaderEnd && png.starts_with(kSignature), "PNG text: the bytes are not a PNG");
  std::string out(png.substr(0, kHeaderEnd));
  for (const auto& [key, value] : text) append_text_chunk(out, key, value);
  out += png.substr(kHeaderEnd);
  return out;
}

std::string encode_stored_png(const Image& image, const PngText& text) {
  const auto row = 3 * static_cast<std::size_t>(image.width);
  require(image.width > 0 && image.height > 0 && image.pixels.size() == row * static_cast<std::size_t>(image.height),
          "PNG: {}x{} with {} bytes of pixels, expected 3 bytes a pixel", image.width, image.height,
          image.pixels.size());
  require(image.pixels.size() < std::size_t{1} << 30, "PNG: {}x{} pixels are too many for one stored chunk",
          image.width, image.height);
  std::string header("IHDR");
  append_big_endian(header, static_cast<std::uint32_t>(image.width));
  append_big_endian(header, static_cast<std::uint32_t>(image.height));
  header.append("\x08\x02\0\0\0", 5);  // 8 bits, RGB; deflate, filtered by row, not interlaced
  std::string rows;
  rows.reserve((row + 1) * static_cast<std::size_t>(image.height));
  for (int y = 0; y < image.height; ++y) {
    rows.push_back(0);  // this row is not filtered
    rows.append(reinterpret_cast<const char*>(image.at(0, y)), row);
  }
  std::string png(kSignature);
  append_chunk(png, header);
  std::string data("IDAT");
  data += stored_zlib(rows);
  append_chunk(png, data);
  append_chunk(png, "IEND");
  return with_png_text(png, text);
}

PngText read_png_text(std::string_view bytes, std::string_view name) {
  require(bytes.starts_with(kSignature), "{}: not a PNG", name);
  PngText text;
  std::size_t position = kSignature.size();
  while (position < bytes.size()) {
    require(bytes.size() - position >= 12, "{}: truncated PNG chunk", name);
    const std::uint64_t length = big_endian(bytes.substr(position));
    require(length <= bytes.size() - position - 12, "{}: PNG chunk of {} bytes, {} left", name, length,
            bytes.size() - position - 12);
    const auto chunk = bytes.substr(position + 4, length + 4);
    const auto type = chunk.substr(0, 4);
    position += 12 + length;
    if (type == "IEND") return text;
    if (type != "tEXt" && type != "iTXt") continue;
    require(crc32(chunk) == big_endian(bytes.substr(position - 4)), "{}: PNG text chunk with a wrong checksum", name);
    if (length > kMaxTextBytes) continue;
    std::string_view rest = chunk.substr(4);
    std::string_view key, language, translated;
    require(take_until_zero(rest, key), "{}: PNG text chunk without a keyword", name);
    if (type == "tEXt") {
      text[std::string(key)] = latin1_to_utf8(rest);
      continue;
    }
    require(rest.size() >= 2, "{}: truncated PNG text chunk", name);
    if (rest[0] != 0) continue;  // compressed
    rest.remove_prefix(2);
    require(take_until_zero(rest, language) && take_until_zero(rest, translated), "{}: truncated PNG text chunk", name);
    text[std::string(key)] = std::string(rest);
  }
  fail("{}: PNG without an end", name);
}

PngText read_png_text(const std::filesystem::path& path) {
  return read_png_text(read_file(path), path.string());
}

void write_png(const std::filesystem::path& path, const Image& image, const PngText& text) {
  write_file_atomically(path, encode_png(image, text));
}

}  // namespace tessera
