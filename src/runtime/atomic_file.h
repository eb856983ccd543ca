/// Files that are either wholly there or not at all: written aside, flushed to the disk, renamed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace tessera {

/// Writes to `<path>.partial-<pid>-<16 random digits>`, a file that was not there before and no link, until commit()
/// flushes it, renames it to `path` and flushes the folder. Without commit() the partial file is removed and an older
/// `path` stays untouched. Errors (full disk, missing rights, a flush that failed) name the path and say their reason.
/// The first file of a process in a folder sweeps partial files away that nobody writes any more.
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

/// Removes the partial files in a folder (and, if `below`, in those under it) whose writers are gone. Who writes one
/// holds a lock on it, which the system lets go of however the process ends.
void sweep_partial_files(const std::filesystem::path& folder, bool below);

/// Flushes a folder's entries to the disk: what was made, renamed or removed in it survives a power cut. Throws Error
/// naming it; file systems that cannot flush folders are left as they are.
void flush_folder(const std::filesystem::path& folder);

/// The whole file; an Error if it cannot be read or is larger than `max_bytes`.
std::string read_file(const std::filesystem::path& path, std::uint64_t max_bytes = std::uint64_t{1} << 30);

}  // namespace tessera
