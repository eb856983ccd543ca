/// A zip of stored members whose names, flags and extra fields are as a test wants them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tessera::testing {

struct StoredMember {
  std::string name, bytes;
  std::uint16_t flags = 0;  // 0x800: the name is UTF-8
  std::uint8_t system = 3;  // 3: Unix, 0: FAT, 10: NTFS
  std::string extra = {};   // of the central directory
};

inline std::uint32_t crc32_of_bytes(const std::string& bytes) {
  std::uint32_t crc = 0xffffffffU;
  for (const char c : bytes) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1U) != 0 ? 0xedb88320U : 0U);
  }
  return ~crc;
}

inline std::string little(std::uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text.push_back(static_cast<char>(value >> (8 * i)));
  return text;
}

/// Info-ZIP's Unicode path field: the name that is meant where `raw` stands.
inline std::string unicode_path(const std::string& raw, const std::string& name) {
  const auto field = std::string("\x01", 1) + little(crc32_of_bytes(raw), 4) + name;
  return little(0x7075, 2) + little(field.size(), 2) + field;
}

/// In: order, the order of the central directory; empty: as the members come.
inline std::string stored_zip(const std::vector<StoredMember>& members, const std::vector<std::size_t>& order = {}) {
  std::string zip;
  std::vector<std::string> central;
  for (const auto& member : members) {
    const auto sizes = little(crc32_of_bytes(member.bytes), 4) + little(member.bytes.size(), 4) +
                       little(member.bytes.size(), 4) + little(member.name.size(), 2);
    const auto common = little(20, 2) + little(member.flags, 2) + little(0, 2) + little(0, 4) + sizes;
    central.push_back("PK\x01\x02" + little(20, 1) + little(member.system, 1) + common +
                      little(member.extra.size(), 2) + little(0, 2) + little(0, 2) + little(0, 2) + little(0, 4) +
                      little(zip.size(), 4) + member.name + member.extra);
    zip += "PK\x03\x04" + common + little(0, 2) + member.name + member.bytes;
  }
  const auto begin = zip.size();
  for (std::size_t i = 0; i < central.size(); ++i) zip += central[order.empty() ? i : order[i]];
  const auto directory = zip.size() - begin;
  return zip + "PK\x05\x06" + little(0, 4) + little(central.size(), 2) + little(central.size(), 2) +
         little(directory, 4) + little(begin, 4) + little(0, 2);
}

}  // namespace tessera::testing
