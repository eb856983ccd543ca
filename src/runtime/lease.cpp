#include "runtime/lease.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>

#include "runtime/error.h"
#include "runtime/log.h"

namespace tessera {
namespace {

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 && name[0] != 0 ? name : "an unnamed host";
}

/// This process and this object: "process 17 on host, silent after 60 s, lease 3".
std::string mark_of(double silence) {
  static std::atomic<int> count = 0;
  return fmt::format("process {} on {}, silent after {:g} s, lease {}", ::getpid(), host_name(), silence, ++count);
}

double seconds_of(const timespec& time) {
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

struct Found {
  std::string mark;
  double age = 0;  // seconds since it was last renewed, by the clock of the file system
};

/// Now, as the file system dates a file that is written now.
double now_in(const std::filesystem::path& file) {
  auto probe = file.string() + fmt::format(".{}-XXXXXX", ::getpid());
  const int descriptor = ::mkstemp(probe.data());
  require(descriptor >= 0, "{}: cannot be written: {}", file.string(), std::strerror(errno));
  struct stat facts {};
  const bool written = ::write(descriptor, ".", 1) == 1 && ::fstat(descriptor, &facts) == 0;
  const int reason = errno;
  ::close(descriptor);
  ::unlink(probe.c_str());
  require(written, "{}: cannot be written: {}", file.string(), std::strerror(reason));
  return seconds_of(facts.st_mtim);
}

/// A lease file that nobody else changes while this lives: those who take one over or give it back lock it first.
class LockedLease {
 public:
  explicit LockedLease(const std::filesystem::path& file) noexcept
      : descriptor_(::open(file.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW)) {
    if (descriptor_ < 0) {
      reason_ = errno == ENOENT ? 0 : errno;
      return;
    }
    if (::flock(descriptor_, LOCK_EX) != 0) {
      reason_ = errno;
      return;
    }
    // While this one waited another may have given it back, and a third have made a new one.
    struct stat own {};
    struct stat there {};
    current_ = ::fstat(descriptor_, &own) == 0 && ::lstat(file.c_str(), &there) == 0 && own.st_ino == there.st_ino &&
               own.st_dev == there.st_dev;
  }
  ~LockedLease() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  LockedLease(const LockedLease&) = delete;
  LockedLease& operator=(const LockedLease&) = delete;

  bool is_there() const noexcept { return current_; }
  /// Why it could not be opened or locked; 0: it could, or it is not there.
  int reason() const noexcept { return reason_; }
  bool write(const std::string& mark) const noexcept {
    return ::ftruncate(descriptor_, 0) == 0 &&
           ::pwrite(descriptor_, mark.data(), mark.size(), 0) == static_cast<ssize_t>(mark.size());
  }

 private:
  int descriptor_;
  bool current_ = false;
  int reason_ = 0;
};

/// What a lease file says and when it was renewed. Out: bytes of the text; -1: there is no such file (any more).
ssize_t read_lease(const char* file, char (&text)[512], struct stat& facts) noexcept {
  const int descriptor = ::open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (descriptor < 0) return -1;
  const auto length = ::fstat(descriptor, &facts) == 0 ? ::read(descriptor, text, sizeof text) : -1;
  ::close(descriptor);
  return length;
}

/// false: there is no such file.
bool look(const std::filesystem::path& file, Found& found) {
  struct stat facts {};
  char text[512];
  const auto length = read_lease(file.c_str(), text, facts);
  if (length < 0) return false;
  found.mark.assign(text, static_cast<std::size_t>(length));
  found.age = now_in(file) - seconds_of(facts.st_mtim);
  return true;
}

bool says(const char* file, const std::string& mark) noexcept {
  struct stat facts {};
  char text[512];
  const auto length = read_lease(file, text, facts);
  return length == static_cast<ssize_t>(mark.size()) && std::memcmp(text, mark.data(), mark.size()) == 0;
}

/// The silence that a holder announced; half-written files: `otherwise`.
double announced_silence(const std::string& mark, double otherwise) {
  static const std::string kBefore = "silent after ";
  const auto at = mark.find(kBefore);
  const double value = at == std::string::npos ? 0 : std::strtod(mark.c_str() + at + kBefore.size(), nullptr);
  return value > 0 ? value : otherwise;
}

}  // namespace

Lease::Lease(std::filesystem::path piece, double silence)
    : file_(std::move(piece) += ".lease"), silence_(silence), mark_(mark_of(silence)) {
  require(silence > 0, "lease: silence {}, expected a positive number of seconds", silence);
  std::error_code code;
  const auto folder = std::filesystem::absolute(file_).parent_path();
  std::filesystem::create_directories(folder, code);
  require(!code, "{}: cannot be made: {}", folder.string(), code.message());
  held_ = create() || take_over();
  if (held_) beats_ = std::thread([this] { renew(); });
}

Lease::~Lease() {
  if (!held_) return;
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  end_.notify_all();
  beats_.join();
  // Only one's own: while this process slept, another may have taken it over.
  const LockedLease lease(file_);
  if (says(file_.c_str(), mark_)) ::unlink(file_.c_str());
}

bool Lease::create() {
  const int descriptor = ::open(file_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (descriptor < 0) {
    require(errno == EEXIST, "{}: cannot be written: {}", file_.string(), std::strerror(errno));
    return false;
  }
  const bool written = ::write(descriptor, mark_.data(), mark_.size()) == static_cast<ssize_t>(mark_.size());
  const int reason = errno;
  ::close(descriptor);
  if (!written) ::unlink(file_.c_str());
  require(written, "{}: cannot be written: {}", file_.string(), std::strerror(reason));
  return true;
}

bool Lease::take_over() {
  Found found;
  if (!look(file_, found)) return create();  // given back just now
  holder_ = found.mark.substr(0, found.mark.find(", silent"));
  if (found.age <= announced_silence(found.mark, silence_)) return false;
  // Several may see the silence. It is looked at again under the lock, and written over in its place: were it moved
  // away, whoever comes meanwhile would find the piece free.
  const LockedLease lease(file_);
  if (lease.reason() != 0) {
    log().warn(
        "{}: its holder is silent, but the file cannot be locked and written ({}): it is not taken over, remove it by "
        "hand",
        file_.string(), std::strerror(lease.reason()));
    return false;
  }
  Found now;
  if (!lease.is_there() || !look(file_, now)) return false;
  return now.age > announced_silence(now.mark, silence_) && lease.write(mark_);
}

void Lease::renew() {
  std::unique_lock lock(mutex_);
  while (!end_.wait_for(lock, std::chrono::duration<double>(silence_ / 4), [&] { return ended_; }))
    if (says(file_.c_str(), mark_)) (void)::utimensat(AT_FDCWD, file_.c_str(), nullptr, AT_SYMLINK_NOFOLLOW);
}

}  // namespace tessera
