#include "runtime/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <mutex>

#include "runtime/error.h"

namespace tessera {
namespace {

/// The files that are mapped now, for a signal's handler: nothing in it allocates or locks.
struct NamedRange {
  std::atomic<std::uintptr_t> first{0}, last{0};  // 0: free
  char line[512] = {};
};
constexpr std::size_t kNamedRanges = 1024;  // more files than these are mapped without their names
NamedRange named_ranges[kNamedRanges];

void name_range(std::uintptr_t first, std::uintptr_t last, const std::string& path) {
  for (auto& range : named_ranges) {
    std::uintptr_t free = 0;
    if (!range.first.compare_exchange_strong(free, first)) continue;
    std::snprintf(range.line, sizeof(range.line), "tessera: %.400s: was cut short while it was in use\n", path.c_str());
    range.last = last;
    return;
  }
}

void forget_range(std::uintptr_t first) {
  for (auto& range : named_ranges) {
    if (range.first != first) continue;
    range.last = 0;
    range.first = 0;
    return;
  }
}

void tell_cut_file(int signal, siginfo_t* info, void*) {
  const auto at = reinterpret_cast<std::uintptr_t>(info->si_addr);
  for (const auto& range : named_ranges) {
    if (range.first == 0 || at < range.first || at >= range.last) continue;
    if (::write(STDERR_FILENO, range.line, std::strlen(range.line)) < 0) ::_exit(1);
    ::_exit(1);
  }
  std::signal(signal, SIG_DFL);  // none of ours: the fault comes again and ends the program as ever
}

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

void MappedFile::name_files_cut_short() {
  struct sigaction action {};
  action.sa_sigaction = tell_cut_file;
  action.sa_flags = SA_SIGINFO;
  ::sigemptyset(&action.sa_mask);
  ::sigaction(SIGBUS, &action, nullptr);
}

std::shared_ptr<MappedFile> MappedFile::open(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  const int why = errno;
  require(descriptor >= 0, "{}: cannot be read: {}", path.string(), std::strerror(why));
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
  name_range(first, first + size, path.string());
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
  forget_range(reinterpret_cast<std::uintptr_t>(data_));
  ::munmap(data_, size_);
}

}  // namespace tessera
