/// A file that grows by whole records while a run goes on: what cannot be written now is written with the next.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace tessera {

/// Records are what one can do without: a full disk costs a warning, not the run, and leaves no torn record behind.
class AppendFile {
 public:
  /// Opens or makes the file. Throws Error naming it.
  explicit AppendFile(std::filesystem::path path);
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  /// Keeps a record for the next flush.
  void append(std::string_view record);
  /// Writes what is kept. Where that fails, the file is cut back to its last whole record, everything stays kept, and
  /// the first time in a row one warning says so. More than 16 MiB is not kept.
  void flush();

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  std::int64_t size_ = 0;  // bytes of whole records
  std::string kept_;
  bool warned_ = false;
};

}  // namespace tessera
