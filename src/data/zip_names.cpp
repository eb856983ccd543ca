#include "data/zip_names.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <string_view>

#include "data/file_names.h"
#include "text/single_byte_encodings.h"
#include "text/unicode.h"

namespace tessera {
namespace {

constexpr std::uint64_t kEndBytes = 22, kLocatorBytes = 20, kEnd64Bytes = 56, kCentralBytes = 46;
constexpr std::uint64_t kMostDirectoryBytes = std::uint64_t{256} << 20;
constexpr std::uint16_t kUtf8Flag = 1U << 11;
constexpr std::uint16_t kUnicodePath = 0x7075, kZip64Field = 1;

template <typename T>
T little_endian(std::string_view bytes, std::size_t at) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i)
    value =
        static_cast<T>(value | static_cast<T>(static_cast<T>(static_cast<unsigned char>(bytes[at + i])) << (8 * i)));
  return value;
}

std::uint32_t crc32_of(std::string_view bytes) {
  std::uint32_t crc = 0xffffffffU;
  for (const char c : bytes) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1U) != 0 ? 0xedb88320U : 0U);
  }
  return ~crc;
}

std::optional<std::string> piece_of(std::ifstream& file, std::uint64_t at, std::uint64_t bytes) {
  std::string piece(bytes, '\0');
  file.clear();
  file.seekg(static_cast<std::streamoff>(at));
  file.read(piece.data(), static_cast<std::streamsize>(bytes));
  if (file.gcount() != static_cast<std::streamsize>(bytes)) return std::nullopt;
  return piece;
}

/// The central directory's bytes; it ends where its end record begins, whatever lies before the archive.
std::optional<std::string> directory_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return std::nullopt;
  const auto size = static_cast<std::uint64_t>(file.tellg());
  if (size < kEndBytes) return std::nullopt;
  const auto tail_bytes = std::min<std::uint64_t>(size, 0xffff + kEndBytes);
  const auto tail = piece_of(file, size - tail_bytes, tail_bytes);
  if (!tail) return std::nullopt;
  const auto end = tail->rfind("PK\x05\x06", tail->size() - kEndBytes);
  if (end == std::string::npos) return std::nullopt;
  std::uint64_t directory_bytes = little_endian<std::uint32_t>(*tail, end + 12);
  std::uint64_t directory_end = size - tail_bytes + end;
  if (end >= kLocatorBytes && std::string_view(*tail).substr(end - kLocatorBytes, 4) == "PK\x06\x07") {
    // Its record lies right before the locator, but for an extensible part that nothing writes.
    if (directory_end < kLocatorBytes + kEnd64Bytes) return std::nullopt;
    const auto at = directory_end - kLocatorBytes - kEnd64Bytes;
    const auto record = piece_of(file, at, kEnd64Bytes);
    if (!record || !record->starts_with("PK\x06\x06")) return std::nullopt;
    directory_bytes = little_endian<std::uint64_t>(*record, 40);
    directory_end = at;
  }
  if (directory_bytes > directory_end || directory_bytes > kMostDirectoryBytes) return std::nullopt;
  return piece_of(file, directory_end - directory_bytes, directory_bytes);
}

struct ExtraFields {
  std::optional<std::string> unicode_path;
  std::optional<std::uint64_t> offset;  // zip64's, of the local header
};

ExtraFields extra_fields(std::string_view extra, std::string_view raw_name, int wide_before_offset) {
  ExtraFields fields;
  while (extra.size() >= 4) {
    const auto id = little_endian<std::uint16_t>(extra, 0);
    const std::size_t bytes = little_endian<std::uint16_t>(extra, 2);
    if (bytes > extra.size() - 4) break;
    const auto field = extra.substr(4, bytes);
    extra.remove_prefix(4 + bytes);
    if (id == kUnicodePath && field.size() >= 5 && field[0] == 1 &&
        little_endian<std::uint32_t>(field, 1) == crc32_of(raw_name) && is_valid_utf8(field.substr(5))) {
      fields.unicode_path = std::string(field.substr(5));
    }
    const auto at = 8 * static_cast<std::size_t>(wide_before_offset);
    if (id == kZip64Field && field.size() >= at + 8) fields.offset = little_endian<std::uint64_t>(field, at);
  }
  return fields;
}

struct NamedEntry {
  std::uint64_t offset;
  std::string raw, name;
  bool says_encoding;
};

std::optional<std::vector<NamedEntry>> entries_of(std::string_view directory) {
  std::vector<NamedEntry> entries;
  while (directory.size() >= kCentralBytes) {
    if (!directory.starts_with("PK\x01\x02")) return std::nullopt;
    const int system = static_cast<unsigned char>(directory[5]);
    const auto flags = little_endian<std::uint16_t>(directory, 8);
    const std::size_t name_bytes = little_endian<std::uint16_t>(directory, 28);
    const std::size_t extra_bytes = little_endian<std::uint16_t>(directory, 30);
    const std::size_t all = kCentralBytes + name_bytes + extra_bytes + little_endian<std::uint16_t>(directory, 32);
    if (all > directory.size()) return std::nullopt;
    const auto raw = directory.substr(kCentralBytes, name_bytes);
    std::uint64_t offset = little_endian<std::uint32_t>(directory, 42);
    const int wide = (little_endian<std::uint32_t>(directory, 20) == 0xffffffffU) +
                     (little_endian<std::uint32_t>(directory, 24) == 0xffffffffU);
    const auto extra = extra_fields(directory.substr(kCentralBytes + name_bytes, extra_bytes), raw, wide);
    if (offset == 0xffffffffU && extra.offset) offset = *extra.offset;
    directory.remove_prefix(all);

    NamedEntry entry{offset, std::string(raw), std::string(raw), true};
    const bool ascii = std::all_of(raw.begin(), raw.end(), [](char c) { return static_cast<signed char>(c) >= 0; });
    if ((flags & kUtf8Flag) == 0 || !is_valid_utf8(raw)) {
      entry.says_encoding = ascii || extra.unicode_path.has_value();
      if (extra.unicode_path) entry.name = *extra.unicode_path;
    }
    // Programs of DOS, OS/2, Windows write the separator of their own system.
    if (system == 0 || system == 6 || system == 10 || system == 11 || system == 14)
      std::replace(entry.name.begin(), entry.name.end(), '\\', '/');
    entries.push_back(std::move(entry));
  }
  return entries;
}

/// Letters of western languages lie at 0x80 to 0xa5 in code page 437 and from 0xc0 on in windows-1252.
bool looks_like_windows_1252(const std::vector<NamedEntry>& entries) {
  std::size_t dos = 0, windows = 0;
  for (const auto& entry : entries) {
    if (entry.says_encoding) continue;
    for (const char c : entry.name) {
      const auto byte = static_cast<unsigned char>(c);
      dos += byte >= 0x80 && byte <= 0xa5;
      windows += byte >= 0xc0;
    }
  }
  return windows > dos;
}

}  // namespace

std::optional<ZipNames> read_zip_names(const std::filesystem::path& path) {
  const auto directory = directory_of(path);
  if (!directory) return std::nullopt;
  auto entries = entries_of(*directory);
  if (!entries) return std::nullopt;
  std::stable_sort(entries->begin(), entries->end(), [](const auto& a, const auto& b) { return a.offset < b.offset; });
  entries->erase(
      std::unique(entries->begin(), entries->end(), [](const auto& a, const auto& b) { return a.offset == b.offset; }),
      entries->end());
  ZipNames result;
  const bool all_utf8 = std::all_of(entries->begin(), entries->end(),
                                    [](const auto& entry) { return entry.says_encoding || is_valid_utf8(entry.name); });
  const bool windows = looks_like_windows_1252(*entries);
  const auto& encoding = single_byte_encoding(windows ? "windows-1252" : "cp437");
  for (auto& entry : *entries) {
    if (!entry.says_encoding) {
      ++result.guessed;
      result.guess = all_utf8 ? "UTF-8" : windows ? "windows-1252" : "code page 437";
      std::string decoded;
      for (const char c : entry.name) {
        const auto byte = static_cast<unsigned char>(c);
        append_utf8(decoded, encoding.code_of(byte));
      }
      if (!all_utf8) entry.name = std::move(decoded);
    }
    result.names.push_back(std::move(entry.name));
    result.raw.push_back(std::move(entry.raw));
  }
  return result;
}

}  // namespace tessera
