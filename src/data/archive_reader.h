/// Walks over the files of a zip or tar, in their stored order, through libarchive.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

struct archive;
struct archive_entry;

namespace tessera {

class ArchiveReader {
 public:
  /// In: a zip or tar, tar also compressed with gzip or zstd. Throws Error where it is none.
  explicit ArchiveReader(const std::filesystem::path& path);
  ~ArchiveReader();
  ArchiveReader(const ArchiveReader&) = delete;
  ArchiveReader& operator=(const ArchiveReader&) = delete;

  /// The next regular file's name; nothing at the end. Throws Error where the archive is broken or truncated.
  std::optional<std::string> next();
  /// The bytes of the file that next() named. Throws Error on more than `max_bytes`, whatever the header declares.
  std::vector<std::uint8_t> read(std::uint64_t max_bytes);

 private:
  std::string path_;
  ::archive* archive_ = nullptr;
  ::archive_entry* entry_ = nullptr;
  std::string name_;
  std::int64_t files_ = 0;
};

}  // namespace tessera
