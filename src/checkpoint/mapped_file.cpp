#include "checkpoint/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "runtime/error.h"

namespace tessera {

std::shared_ptr<MappedFile> MappedFile::open(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  require(descriptor >= 0, "{}: cannot be read: {}", path.string(), std::strerror(errno));
  struct stat status {};
  void* data = MAP_FAILED;
  const bool regular = ::fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
  const auto size = static_cast<std::size_t>(status.st_size);
  int reason = 0;
  if (regular && size > 0) {
    data = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, descriptor, 0);
    reason = errno;
  }
  ::close(descriptor);
  require(regular, "{}: not a regular file", path.string());
  require(size > 0, "{}: the file is empty", path.string());
  require(data != MAP_FAILED, "{}: cannot be mapped: {}", path.string(), std::strerror(reason));
  return std::shared_ptr<MappedFile>(new MappedFile(path, static_cast<char*>(data), size));
}

MappedFile::~MappedFile() {
  ::munmap(data_, size_);
}

}  // namespace tessera
