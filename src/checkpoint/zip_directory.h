/// The directory of a zip archive held in memory: enough of the format for what torch.save writes (members stored, not
/// compressed; zip64). Format: PKWARE APPNOTE 6.3, sections 4.3 to 4.5. Checksums are not verified: torch.save may
/// leave them out.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace tessera {

/// One member of an archive.
struct ZipMember {
  std::uint64_t offset = 0;  // of the data, in bytes from the start of the archive
  std::uint64_t size = 0;    // bytes
  bool stored = true;        // false: compressed or encrypted, so it cannot be used in place
};

using ZipDirectory = std::map<std::string, ZipMember, std::less<>>;

/// Reads the central directory. Every member lies inside the archive and no two overlap.
/// Throws Error (beginning with `where`) for a truncated archive, duplicate names, or fields that contradict each
/// other.
ZipDirectory read_zip_directory(std::string_view archive, const std::string& where);

}  // namespace tessera
