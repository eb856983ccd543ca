#include "runtime/atomic_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <fstream>
#include <mutex>
#include <random>
#include <set>
#include <vector>

#include "runtime/error.h"

namespace tessera {
namespace {

constexpr std::string_view kMark = ".partial-";
constexpr std::size_t kRandomDigits = 16;

std::string random_digits() {
  thread_local std::random_device device;
  return fmt::format("{:08x}{:08x}", static_cast<std::uint32_t>(device()), static_cast<std::uint32_t>(device()));
}

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

/// The process and whether random digits follow, of a partial file's name; false: the name is none.
bool is_partial_name(const std::string& name, pid_t& process, bool& locked) {
  const auto mark = name.rfind(kMark);
  if (mark == std::string::npos) return false;
  const auto* begin = name.data() + mark + kMark.size();
  const auto* end = name.data() + name.size();
  const auto parsed = std::from_chars(begin, end, process);
  if (parsed.ec != std::errc() || process <= 0) return false;
  const std::string_view rest(parsed.ptr, static_cast<std::size_t>(end - parsed.ptr));
  locked = !rest.empty();
  return rest.empty() || (rest.front() == '-' && rest.size() == kRandomDigits + 1 &&
                          std::all_of(rest.begin() + 1, rest.end(),
                                      [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }));
}

/// Removes a partial file unless somebody writes it. Those of earlier versions hold no lock: their process must be
/// gone.
void remove_if_left(const std::filesystem::path& file) {
  pid_t process = 0;
  bool locked = false;
  if (!is_partial_name(file.filename().string(), process, locked)) return;
  if (!locked && (::kill(process, 0) == 0 || errno != ESRCH)) return;
  const int descriptor = ::open(file.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (descriptor < 0) return;
  struct stat status {};
  const bool left =
      ::fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode) && ::flock(descriptor, LOCK_EX | LOCK_NB) == 0;
  if (left) ::unlink(file.c_str());
  ::close(descriptor);
}

/// Once a process and folder: a folder may hold many files, and be written to many times.
void sweep_once(const std::filesystem::path& folder) {
  static std::mutex mutex;
  static auto* swept = new std::set<std::filesystem::path>;
  {
    const std::lock_guard lock(mutex);
    if (!swept->insert(folder).second) return;
  }
  sweep_partial_files(folder, false);
}

/// A new file beside `path`, locked. partial: its name.
int open_partial(const std::filesystem::path& path, std::filesystem::path& partial) {
  constexpr int kTries = 100;
  for (int tried = 0;; ++tried) {
    partial = path;
    partial += fmt::format("{}{}-{}", kMark, ::getpid(), random_digits());
    const int descriptor = ::open(partial.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    const int reason = errno;
    if (descriptor < 0 && reason == EEXIST && tried < kTries) continue;
    require(descriptor >= 0, "{}: cannot be written: {}", path.string(), std::strerror(reason));
    // A sweep may have come between: then the file is gone or still locked for a moment.
    struct stat status {};
    if (::flock(descriptor, LOCK_EX | LOCK_NB) == 0 && ::fstat(descriptor, &status) == 0 && status.st_nlink > 0)
      return descriptor;
    if (tried >= kTries) return descriptor;  // a file system without locks
    ::close(descriptor);
    ::unlink(partial.c_str());
  }
}

}  // namespace

AtomicFile::AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
  sweep_once(folder_of(path_));
  descriptor_ = open_partial(path_, partial_);
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::unlink(partial_.c_str());
  ::close(descriptor_);
}

void AtomicFile::write(const void* data, std::size_t bytes) {
  const char* position = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t written = ::write(descriptor_, position, bytes);
    const int reason = errno;
    if (written < 0 && reason == EINTR) continue;
    require(written > 0, "{}: cannot be written: {}", path_.string(),
            written == 0 ? "nothing was taken" : std::strerror(reason));
    position += written;
    bytes -= static_cast<std::size_t>(written);
  }
}

void AtomicFile::commit() {
  const int flushed = ::fsync(descriptor_);
  const int why = errno;  // before anything else is called
  require(flushed == 0, "{}: cannot be flushed: {}", path_.string(), std::strerror(why));
  // Renamed while it is open, so that its lock holds until it has its name.
  const bool renamed = ::rename(partial_.c_str(), path_.c_str()) == 0;
  const int reason = errno;
  if (!renamed) ::unlink(partial_.c_str());
  const int closed = ::close(descriptor_);
  const int close_reason = errno;
  descriptor_ = -1;
  require(renamed, "{}: cannot be written: {}", path_.string(), std::strerror(reason));
  require(closed == 0, "{}: cannot be written: {}", path_.string(), std::strerror(close_reason));
  flush_folder(folder_of(path_));
}

void sweep_partial_files(const std::filesystem::path& folder, bool below) {
  std::error_code code;
  std::vector<std::filesystem::path> found;
  pid_t process = 0;
  bool locked = false;
  const auto look = [&](const std::filesystem::path& file) {
    if (is_partial_name(file.filename().string(), process, locked)) found.push_back(file);
  };
  if (below) {
    for (std::filesystem::recursive_directory_iterator at(folder, code), end; !code && at != end; at.increment(code))
      look(at->path());
  } else {
    for (std::filesystem::directory_iterator at(folder, code), end; !code && at != end; at.increment(code))
      look(at->path());
  }
  for (const auto& file : found) remove_if_left(file);
}

void flush_folder(const std::filesystem::path& folder) {
  const int directory = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return;  // a folder that may be written and not read: nothing more can be done
  const int flushed = ::fsync(directory);
  const int reason = errno;
  ::close(directory);
  require(flushed == 0 || reason == EINVAL || reason == ENOTSUP || reason == EROFS, "{}: cannot be flushed: {}",
          folder.string(), std::strerror(reason));
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
