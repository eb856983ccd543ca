#include "runtime/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "runtime/error.h"

namespace tessera {

FolderLock::FolderLock(const std::filesystem::path& folder) {
  std::error_code code;
  std::filesystem::create_directories(folder, code);
  require(!code, "{}: cannot be made: {}", folder.string(), code.message());
  const auto file = folder / ".lock";
  descriptor_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
  require(descriptor_ >= 0, "{}: cannot be written: {}", file.string(), std::strerror(errno));
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    const int reason = errno;
    char holder[32] = {};
    const auto length = reason == EWOULDBLOCK ? ::pread(descriptor_, holder, sizeof holder - 1, 0) : 0;
    ::close(descriptor_);
    require(reason == EWOULDBLOCK, "{}: cannot be locked: {}", file.string(), std::strerror(reason));
    auto process = std::string(holder, length > 0 ? static_cast<std::size_t>(length) : 0);
    while (!process.empty() && process.back() == '\n') process.pop_back();
    fail("{}: another training writes there{}: wait for its end, or give another folder", folder.string(),
         process.empty() ? "" : " (process " + process + ")");
  }
  const auto text = std::to_string(::getpid()) + "\n";
  // What the file says is for people: that it could not be written does not weaken the lock.
  if (::ftruncate(descriptor_, 0) != 0 || ::pwrite(descriptor_, text.data(), text.size(), 0) < 0) return;
}

FolderLock::~FolderLock() {
  if (descriptor_ < 0) return;
  if (::ftruncate(descriptor_, 0) != 0) {
    // The file keeps the number of a process that is no more; the lock itself is gone with the descriptor.
  }
  ::close(descriptor_);
}

}  // namespace tessera
