/// The names in a zip's directory as bytes, whatever the locale: by the UTF-8 flag, by the Unicode path field, else by
/// a guess that is said. Format: PKWARE APPNOTE 6.3, 4.3.12, 4.4.4 and 4.6.9.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace tessera {

struct ZipNames {
  std::vector<std::string> names;  // folders too, in the order of the data in the file; UTF-8
  std::vector<std::string> raw;    // the same as the bytes that stand there
  std::string guess;               // the encoding that was assumed for the names that say none; empty: nothing was
  std::size_t guessed = 0;         // how many names
};

/// Nothing: the file has no directory that can be read (cut off, or no zip); libarchive says what is wrong with it.
std::optional<ZipNames> read_zip_names(const std::filesystem::path& path);

}  // namespace tessera
