#include "runtime/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "runtime/error.h"

namespace tessera {

namespace {

/// Whether the open file is still the one of that name: another process may have given it back meanwhile.
bool is_named(int descriptor, const std::filesystem::path& file) {
  struct stat open_file {
  }, named{};
  return ::fstat(descriptor, &open_file) == 0 && ::stat(file.c_str(), &named) == 0 &&
         open_file.st_ino == named.st_ino && open_file.st_dev == named.st_dev;
}

}  // namespace

FolderLock::FolderLock(const std::filesystem::path& folder) : file_(folder / ".lock") {
  std::error_code code;
  for (auto part = folder; !part.empty() && !std::filesystem::exists(part, code); part = part.parent_path())
    made_.push_back(part);
  std::filesystem::create_directories(folder, code);
  require(!code, "{}: cannot be made: {}", folder.string(), code.message());
  while (descriptor_ < 0) {
    descriptor_ = ::open(file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    require(descriptor_ >= 0, "{}: cannot be written: {}", file_.string(), std::strerror(errno));
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
      const int reason = errno;
      char holder[32] = {};
      const auto length = reason == EWOULDBLOCK ? ::pread(descriptor_, holder, sizeof holder - 1, 0) : 0;
      ::close(descriptor_);
      require(reason == EWOULDBLOCK, "{}: cannot be locked: {}", file_.string(), std::strerror(reason));
      auto process = std::string(holder, length > 0 ? static_cast<std::size_t>(length) : 0);
      while (!process.empty() && process.back() == '\n') process.pop_back();
      fail("{}: another training writes there{}: wait for its end, or give another folder", folder.string(),
           process.empty() ? "" : " (process " + process + ")");
    }
    if (is_named(descriptor_, file_)) break;
    ::close(descriptor_);
    descriptor_ = -1;
  }
  const auto text = std::to_string(::getpid()) + "\n";
  // What the file says is for people: that it could not be written does not weaken the lock.
  if (::ftruncate(descriptor_, 0) != 0 || ::pwrite(descriptor_, text.data(), text.size(), 0) < 0) return;
}

FolderLock::~FolderLock() {
  ::unlink(file_.c_str());
  ::close(descriptor_);
  std::error_code full;
  for (const auto& folder : made_) std::filesystem::remove(folder, full);  // not where something lies in it
}

}  // namespace tessera
