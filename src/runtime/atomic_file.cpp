#include "runtime/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "runtime/error.h"

namespace tessera {

AtomicFile::AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
  partial_ = path_;
  partial_ += fmt::format(".partial-{}", ::getpid());
  descriptor_ = ::open(partial_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  require(descriptor_ >= 0, "{}: cannot be written: {}", path_.string(), std::strerror(errno));
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(partial_.c_str());
}

void AtomicFile::write(const void* data, std::size_t bytes) {
  const char* position = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t written = ::write(descriptor_, position, bytes);
    if (written < 0 && errno == EINTR) continue;
    require(written > 0, "{}: cannot be written: {}", path_.string(), std::strerror(errno));
    position += written;
    bytes -= static_cast<std::size_t>(written);
  }
}

void AtomicFile::commit() {
  require(::fsync(descriptor_) == 0, "{}: cannot be flushed: {}", path_.string(), std::strerror(errno));
  const int closed = ::close(descriptor_);
  descriptor_ = -1;
  if (closed != 0 || ::rename(partial_.c_str(), path_.c_str()) != 0) {
    const int reason = errno;
    ::unlink(partial_.c_str());
    fail("{}: cannot be written: {}", path_.string(), std::strerror(reason));
  }
  // The rename itself must survive a power cut.
  const auto folder = path_.has_parent_path() ? path_.parent_path() : std::filesystem::path(".");
  const int directory = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory >= 0) {
    ::fsync(directory);
    ::close(directory);
  }
}

void write_file_atomically(const std::filesystem::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

std::string read_file(const std::filesystem::path& path, std::uint64_t max_bytes) {
  std::error_code code;
  require(std::filesystem::is_regular_file(path, code), "{}: no such file", path.string());
  const auto size = std::filesystem::file_size(path, code);
  require(!code, "{}: cannot be read: {}", path.string(), code.message());
  require(size <= max_bytes, "{}: {} bytes, expected at most {}", path.string(), size, max_bytes);
  std::ifstream stream(path, std::ios::binary);
  std::string text(size, '\0');
  require(static_cast<bool>(stream.read(text.data(), static_cast<std::streamsize>(size))), "{}: cannot be read",
          path.string());
  return text;
}

}  // namespace tessera
