/// Files that are either wholly there or not at all: written aside, flushed to the disk, renamed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace tessera {

/// Writes to `<path>.partial-<pid>` until commit() flushes it and renames it to `path`. Without commit() the partial
/// file is removed and an older `path` stays untouched. Errors (full disk, missing rights) name the path.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, std::size_t bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }
  void commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path partial_;
  int descriptor_ = -1;
};

/// The whole of `text` as the file `path`, atomically.
void write_file_atomically(const std::filesystem::path& path, std::string_view text);

/// The whole file; an Error if it cannot be read or is larger than `max_bytes`.
std::string read_file(const std::filesystem::path& path, std::uint64_t max_bytes = std::uint64_t{1} << 30);

}  // namespace tessera
