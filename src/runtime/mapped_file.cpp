#include "runtime/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>

#include "runtime/error.h"

namespace tessera {
namespace {

/// What is mapped now: first byte -> one past the last.
struct Mappings {
  std::mutex lock;
  std::map<std::uintptr_t, std::uintptr_t> ranges;
};

Mappings& mappings() {
  static auto* all = new Mappings;  // outlives every static that holds a file
  return *all;
}

}  // namespace

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
  std::shared_ptr<MappedFile> file(new MappedFile(path, static_cast<char*>(data), size));
  const std::lock_guard guard(mappings().lock);
  const auto first = reinterpret_cast<std::uintptr_t>(data);
  mappings().ranges[first] = first + size;
  return file;
}

bool MappedFile::give_back(const void* data, std::size_t size) {
  const auto first = reinterpret_cast<std::uintptr_t>(data), last = first + size;
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const std::lock_guard guard(mappings().lock);
  auto range = mappings().ranges.upper_bound(first);
  if (range == mappings().ranges.begin()) return false;
  --range;
  if (last > range->second) return false;
  const auto from = (first + page - 1) / page * page, to = last / page * page;
  return from >= to || ::madvise(reinterpret_cast<void*>(from), to - from, MADV_DONTNEED) == 0;
}

MappedFile::~MappedFile() {
  const std::lock_guard guard(mappings().lock);
  mappings().ranges.erase(reinterpret_cast<std::uintptr_t>(data_));
  ::munmap(data_, size_);
}

}  // namespace tessera
