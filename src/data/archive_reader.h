/// Walks over the files of a zip or tar, in their stored order, through libarchive.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "data/zip_names.h"

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

  /// The next regular file's name, as bytes; nothing at the end. Throws Error where the archive is broken or truncated,
  /// and where it unpacks to far more than its own size.
  std::optional<std::string> next();
  /// The bytes of the file that next() named. Throws Error on more than `max_bytes`, whatever the header declares.
  std::vector<std::uint8_t> read(std::uint64_t max_bytes);
  /// What next() has passed over that is neither file nor folder, each with its reason.
  const std::vector<std::pair<std::string, std::string>>& passed_over() const { return passed_over_; }
  /// What was assumed of its names; empty: nothing.
  std::string note() const;

 private:
  std::string entry_name();

  /// Counts what the entry at hand unpacks to, whether it is read or skipped.
  void charge_entry();

  std::string path_;
  std::uint64_t packed_ = 0;     // bytes of the archive itself
  std::uint64_t unpacked_ = 0;   // bytes that the entries so far unpack to
  std::uint64_t described_ = 0;  // bytes that the names so far take
  ::archive* archive_ = nullptr;
  ::archive_entry* entry_ = nullptr;
  std::string name_;
  std::int64_t files_ = 0;
  std::optional<ZipNames> zip_names_;  // of a zip; nothing: libarchive's own are taken
  std::size_t entries_ = 0;
  std::vector<std::pair<std::string, std::string>> passed_over_;
};

}  // namespace tessera
