#include "server/stored_zip.h"

#include <zlib.h>

#include <cstdint>

#include "runtime/error.h"

namespace tessera::server {
namespace {

constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 31;
constexpr std::uint32_t kLocalHeader = 0x04034b50, kCentralHeader = 0x02014b50, kEnd = 0x06054b50;
constexpr std::uint16_t kVersionNeeded = 10;   // 1.0: stored members
constexpr std::uint16_t kFirstOfJanuary = 33;  // 1980-01-01: the archive of equal members is equal

/// Numbers as the format has them, least byte first.
void put(std::string& to, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) to += static_cast<char>(value >> (8 * i) & 0xff);
}

/// What a member's two headers have in common.
std::string facts_of(const std::string& name, const std::string& content) {
  std::string facts;
  put(facts, kVersionNeeded, 2);
  put(facts, 0, 2);  // flags
  put(facts, 0, 2);  // stored
  put(facts, 0, 2);  // time
  put(facts, kFirstOfJanuary, 2);
  put(facts, ::crc32(0, reinterpret_cast<const Bytef*>(content.data()), static_cast<uInt>(content.size())), 4);
  put(facts, content.size(), 4);
  put(facts, content.size(), 4);
  put(facts, name.size(), 2);
  put(facts, 0, 2);  // extra fields
  return facts;
}

}  // namespace

std::string stored_zip(const std::vector<std::pair<std::string, std::string>>& members) {
  require(members.size() < 65535, "zip: {} members, expected fewer than 65535", members.size());
  std::string archive, directory;
  for (const auto& [name, content] : members) {
    require(archive.size() + content.size() < kMostBytes, "zip: {} bytes and more, expected fewer than {}",
            archive.size() + content.size(), kMostBytes);
    const auto facts = facts_of(name, content);
    put(directory, kCentralHeader, 4);
    put(directory, kVersionNeeded, 2);  // made by
    directory += facts;
    put(directory, 0, 2);               // comment
    put(directory, 0, 2);               // disk
    put(directory, 0, 2);               // internal attributes
    put(directory, 0, 4);               // external attributes
    put(directory, archive.size(), 4);  // of the local header
    directory += name;
    put(archive, kLocalHeader, 4);
    archive += facts + name + content;
  }
  const auto at = archive.size();
  archive += directory;
  put(archive, kEnd, 4);
  put(archive, 0, 4);  // disks
  put(archive, members.size(), 2);
  put(archive, members.size(), 2);
  put(archive, directory.size(), 4);
  put(archive, at, 4);
  put(archive, 0, 2);  // comment
  return archive;
}

}  // namespace tessera::server
