#include "runtime/append_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "runtime/error.h"
#include "runtime/log.h"

namespace tessera {

AppendFile::AppendFile(std::filesystem::path path) : path_(std::move(path)) {
  descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  const int reason = errno;
  require(descriptor_ >= 0, "{}: cannot be written: {}", path_.string(), std::strerror(reason));
  struct stat status {};
  if (::fstat(descriptor_, &status) == 0) size_ = status.st_size;
}

AppendFile::~AppendFile() {
  flush();
  ::close(descriptor_);
}

void AppendFile::append(std::string_view record) {
  constexpr std::size_t kMostKept = std::size_t{16} << 20;
  if (kept_.size() + record.size() <= kMostKept) kept_ += record;
}

void AppendFile::flush() {
  std::size_t done = 0;
  while (done < kept_.size()) {
    const auto written = ::write(descriptor_, kept_.data() + done, kept_.size() - done);
    const int reason = errno;
    if (written < 0 && reason == EINTR) continue;
    if (written <= 0) {
      if (done > 0 && ::ftruncate(descriptor_, size_) != 0) return;  // the torn record is cut off by the next start
      if (!warned_) {
        log().warn("{}: cannot be written: {}; it is tried again with the next record", path_.string(),
                   std::strerror(reason));
      }
      warned_ = true;
      return;
    }
    done += static_cast<std::size_t>(written);
  }
  size_ += static_cast<std::int64_t>(done);
  kept_.clear();
  warned_ = false;
}

}  // namespace tessera
