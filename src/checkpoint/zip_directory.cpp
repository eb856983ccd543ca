#include "checkpoint/zip_directory.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "runtime/error.h"
#include "runtime/printable.h"

namespace tessera {
namespace {

constexpr std::uint32_t kEndSignature = 0x06054b50;
constexpr std::uint32_t kEnd64Signature = 0x06064b50;
constexpr std::uint32_t kEnd64LocatorSignature = 0x07064b50;
constexpr std::uint32_t kCentralSignature = 0x02014b50;
constexpr std::uint32_t kLocalSignature = 0x04034b50;
constexpr std::uint64_t kEndBytes = 22;
constexpr std::uint64_t kEnd64Bytes = 56;
constexpr std::uint64_t kLocatorBytes = 20;
constexpr std::uint64_t kCentralBytes = 46;
constexpr std::uint64_t kLocalBytes = 30;
constexpr std::uint64_t kMaxMembers = 100'000;  // bounds the memory that a directory can claim
constexpr std::uint64_t kMaxNameBytes = 1024;

/// Little-endian fields of a piece of the archive, with every access inside it.
class Fields {
 public:
  Fields(std::string_view bytes, const std::string& where) : bytes_(bytes), where_(where) {}
  /// The unsigned integer of type T at a byte offset.
  template <typename T>
  T at(std::uint64_t offset) const {
    require(offset <= bytes_.size() && sizeof(T) <= bytes_.size() - offset, "{}: truncated zip archive", where_);
    T value{};
    std::memcpy(&value, bytes_.data() + offset, sizeof(T));
    return value;
  }
  std::string_view piece(std::uint64_t offset, std::uint64_t size) const {
    require(offset <= bytes_.size() && size <= bytes_.size() - offset, "{}: truncated zip archive", where_);
    return bytes_.substr(offset, size);
  }
  std::uint64_t size() const { return bytes_.size(); }
  const std::string& where() const { return where_; }

 private:
  std::string_view bytes_;
  const std::string& where_;
};

struct Central {
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
  std::uint64_t members = 0;
};

std::uint64_t find_end(const Fields& archive) {
  require(archive.size() >= kEndBytes, "{}: {} bytes, too few for a zip archive", archive.where(), archive.size());
  const std::uint64_t last = archive.size() - kEndBytes;
  const std::uint64_t first = last - std::min<std::uint64_t>(last, 0xffff);
  for (std::uint64_t offset = last + 1; offset-- > first;) {
    if (archive.at<std::uint32_t>(offset) == kEndSignature &&
        archive.at<std::uint16_t>(offset + 20) == archive.size() - offset - kEndBytes) {
      return offset;
    }
  }
  fail("{}: no zip directory at the end: the file is truncated or no zip archive", archive.where());
}

Central find_central(const Fields& archive) {
  const std::uint64_t end = find_end(archive);
  Central central{archive.at<std::uint32_t>(end + 16), archive.at<std::uint32_t>(end + 12),
                  archive.at<std::uint16_t>(end + 10)};
  std::uint64_t limit = end;
  if (end >= kLocatorBytes && archive.at<std::uint32_t>(end - kLocatorBytes) == kEnd64LocatorSignature) {
    const auto at = archive.at<std::uint64_t>(end - kLocatorBytes + 8);
    require(archive.piece(at, kEnd64Bytes).size() == kEnd64Bytes && archive.at<std::uint32_t>(at) == kEnd64Signature,
            "{}: broken zip64 directory", archive.where());
    central = {archive.at<std::uint64_t>(at + 48), archive.at<std::uint64_t>(at + 40),
               archive.at<std::uint64_t>(at + 32)};
    limit = at;
  }
  require(central.offset <= limit && central.size <= limit - central.offset,
          "{}: zip directory of {} bytes at {} lies outside the file", archive.where(), central.size, central.offset);
  require(central.members <= kMaxMembers && central.members <= central.size / kCentralBytes,
          "{}: zip directory of {} bytes claims {} members", archive.where(), central.size, central.members);
  return central;
}

/// The 64-bit values of the zip64 extra field, in the order of the 32-bit fields that are all ones.
void apply_zip64(const Fields& extra, std::initializer_list<std::uint64_t*> fields) {
  std::uint64_t position = 0;
  while (position + 4 <= extra.size()) {
    const auto id = extra.at<std::uint16_t>(position);
    const auto size = extra.at<std::uint16_t>(position + 2);
    const Fields block(extra.piece(position + 4, size), extra.where());
    position += 4 + std::uint64_t{size};
    if (id != 1) continue;
    std::uint64_t next = 0;
    for (auto* field : fields) {
      if (*field != 0xffffffffu) continue;
      *field = block.at<std::uint64_t>(next);
      next += 8;
    }
    return;
  }
}

}  // namespace

ZipDirectory read_zip_directory(std::string_view bytes, const std::string& where) {
  const Fields archive(bytes, where);
  const Central central = find_central(archive);
  const Fields directory(archive.piece(central.offset, central.size), where);
  ZipDirectory members;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> spans;  // local header to end of data
  std::uint64_t position = 0;
  for (std::uint64_t i = 0; i < central.members; ++i) {
    require(directory.at<std::uint32_t>(position) == kCentralSignature, "{}: broken zip directory at member {}", where,
            i);
    const auto flags = directory.at<std::uint16_t>(position + 8);
    const auto method = directory.at<std::uint16_t>(position + 10);
    std::uint64_t compressed = directory.at<std::uint32_t>(position + 20);
    std::uint64_t size = directory.at<std::uint32_t>(position + 24);
    const std::uint64_t name_bytes = directory.at<std::uint16_t>(position + 28);
    const std::uint64_t extra_bytes = directory.at<std::uint16_t>(position + 30);
    const std::uint64_t comment_bytes = directory.at<std::uint16_t>(position + 32);
    std::uint64_t header = directory.at<std::uint32_t>(position + 42);
    require(name_bytes <= kMaxNameBytes, "{}: zip member {} has a name of {} bytes", where, i, name_bytes);
    const auto name = directory.piece(position + kCentralBytes, name_bytes);
    apply_zip64(Fields(directory.piece(position + kCentralBytes + name_bytes, extra_bytes), where),
                {&size, &compressed, &header});
    position += kCentralBytes + name_bytes + extra_bytes + comment_bytes;

    const auto member = [&] { return fmt::format("{}: zip member '{}'", where, printable(name)); };
    require(header <= central.offset && archive.at<std::uint32_t>(header) == kLocalSignature,
            "{}: no header at byte {}", member(), header);
    const std::uint64_t local_name = archive.at<std::uint16_t>(header + 26);
    const std::uint64_t data = header + kLocalBytes + local_name + archive.at<std::uint16_t>(header + 28);
    require(archive.piece(header + kLocalBytes, local_name) == name, "{}: its header has another name", member());
    require(data <= central.offset && compressed <= central.offset - data, "{}: {} bytes at {} lie outside the file",
            member(), compressed, data);
    const bool stored = method == 0 && (flags & 1) == 0;
    require(!stored || size == compressed, "{}: {} bytes stored as {}", member(), size, compressed);
    require(members.emplace(std::string(name), ZipMember{data, size, stored}).second, "{}: occurs twice", member());
    spans.emplace_back(header, data + compressed);
  }
  std::sort(spans.begin(), spans.end());
  for (std::size_t i = 1; i < spans.size(); ++i) {
    require(spans[i - 1].second <= spans[i].first, "{}: zip members overlap at byte {}", where, spans[i].first);
  }
  return members;
}

}  // namespace tessera
