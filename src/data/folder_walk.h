/// Every file below a folder, linked folders included.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/catalogue.h"

namespace tessera {

struct FolderFile {
  std::string name;  // relative, with '/'
  std::uint64_t bytes = 0;
  std::int64_t changed = 0;  // time of last change, nanoseconds
};

struct FolderListing {
  std::vector<FolderFile> files;  // regular files, in natural order of their names
  std::vector<LeftOut> others;    // broken links, links in a circle, folders that cannot be read, devices
};

/// A linked folder is read like one that lies there, but no folder twice: what a second link leads to is left out.
/// Throws Error where `root` cannot be read or holds more than `max_entries`.
FolderListing list_folder(const std::filesystem::path& root, std::int64_t max_entries);

}  // namespace tessera
