/// A file's bytes in memory without reading them all: a private, copy-on-write map, so that tensors over it are
/// writable while the file stays as it is.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string_view>

namespace tessera {

class MappedFile {
 public:
  /// From now on a mapped file that another program cuts short ends this one with a line that names it and status 1, in
  /// place of SIGBUS. For programs, not for libraries: it takes the signal's handler.
  static void name_files_cut_short();

  /// Maps the whole file. Throws Error naming the path when it is no regular file, is empty or cannot be read.
  static std::shared_ptr<MappedFile> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  char* data() const { return data_; }
  std::size_t size() const { return size_; }
  std::string_view bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }

  /// Gives the whole pages of [data, data + size) back to the system, which reads them from the file again where they
  /// are next looked at. Only for bytes that nobody has written to: what was written would be lost. false, and nothing
  /// is done, where they are not all of one mapped file.
  static bool give_back(const void* data, std::size_t size);

 private:
  MappedFile(std::filesystem::path path, char* data, std::size_t size)
      : path_(std::move(path)), data_(data), size_(size) {}

  std::filesystem::path path_;
  char* data_;
  std::size_t size_;
};

}  // namespace tessera
