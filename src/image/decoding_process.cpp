#include "image/decoding_process.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/error.h"
#include "runtime/heap.h"
#include "runtime/log.h"

#ifdef TESSERA_WITH_SECCOMP
#include <seccomp.h>
#endif

extern char** environ;

namespace tessera {
namespace {

using Clock = std::chrono::steady_clock;

constexpr const char* kWorkerArgument = "--decoding-worker";
constexpr int kWorkerSocket = 3;
constexpr int kWaitsFor = 3;  // times the seconds of a processor, until an answer has come
constexpr std::uint64_t kMostMemory = std::uint64_t{1} << 30;  // of a worker, beside what it has when it begins
constexpr std::uint64_t kMostPixels = std::uint64_t{1} << 26;  // of an answer
constexpr std::uint32_t kMostMessage = 4096;                   // bytes
constexpr std::uint64_t kMostFile = std::uint64_t{256} << 20;  // bytes of a picture's file

/// What a worker is asked; the name and the file follow.
struct Ask {
  std::uint64_t bytes, max_file_bytes;
  std::int64_t max_pixels;
  std::uint32_t name_bytes;
  std::uint8_t background[3], keep_alpha;
};

/// What it answers; the message or the pixels follow.
struct Answer {
  std::int32_t width, height;
  std::uint64_t pixels, rgba;  // bytes
  std::uint32_t message;       // bytes; 0: the picture was decoded
  std::uint32_t padding;
};

/// Moves all of the bytes through a socket. false: the other side is gone, or `until` has come.
template <typename Move>
bool move_all(int socket, short events, std::size_t size, Clock::time_point until, Move move) {
  for (std::size_t done = 0; done < size;) {
    if (until != Clock::time_point::max()) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
      pollfd entry{socket, events, 0};
      if (left <= 0 || ::poll(&entry, 1, static_cast<int>(left)) <= 0) return false;
    }
    const auto now = move(done);
    if (now < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (now <= 0) return false;
    done += static_cast<std::size_t>(now);
  }
  return true;
}
bool send_all(int socket, const void* data, std::size_t size, Clock::time_point until) {
  const int flags = MSG_NOSIGNAL | (until == Clock::time_point::max() ? 0 : MSG_DONTWAIT);
  return move_all(socket, POLLOUT, size, until, [&](std::size_t done) {
    return ::send(socket, static_cast<const char*>(data) + done, size - done, flags);
  });
}
bool receive_all(int socket, void* data, std::size_t size, Clock::time_point until = Clock::time_point::max()) {
  return move_all(socket, POLLIN, size, until,
                  [&](std::size_t done) { return ::recv(socket, static_cast<char*>(data) + done, size - done, 0); });
}

// --- the worker's side

void limit(__rlimit_resource resource, rlim_t value) {
  const rlimit both{value, value};
  ::setrlimit(resource, &both);
}

/// Bytes of address space that this process has now.
std::uint64_t address_space() {
  std::ifstream file("/proc/self/statm");
  std::uint64_t pages = 0;
  file >> pages;
  return pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

#ifdef TESSERA_WITH_SECCOMP
/// From here on: memory, this one socket, threads of its own, the clock. What else is asked for is refused; starting a
/// program ends the process.
bool enter_sandbox() {
  scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
  if (filter == nullptr) return false;
  bool good = true;
  const auto allow = [&](int call) { good = good && seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0) == 0; };
  for (const int call : {SCMP_SYS(read),
                         SCMP_SYS(write),
                         SCMP_SYS(recvfrom),
                         SCMP_SYS(sendto),
                         SCMP_SYS(close),
                         SCMP_SYS(munmap),
                         SCMP_SYS(mremap),
                         SCMP_SYS(madvise),
                         SCMP_SYS(brk),
                         SCMP_SYS(futex),
                         SCMP_SYS(exit),
                         SCMP_SYS(exit_group),
                         SCMP_SYS(rt_sigreturn),
                         SCMP_SYS(rt_sigprocmask),
                         SCMP_SYS(clock_gettime),
                         SCMP_SYS(gettimeofday),
                         SCMP_SYS(getpid),
                         SCMP_SYS(gettid),
                         SCMP_SYS(sched_yield),
                         SCMP_SYS(sched_getaffinity),
                         SCMP_SYS(set_robust_list),
                         SCMP_SYS(rseq),
                         SCMP_SYS(getrandom),
                         SCMP_SYS(clock_nanosleep),
                         SCMP_SYS(tgkill),
                         SCMP_SYS(restart_syscall)})
    allow(call);
  // Memory that may be written is never run; a new thread shares all with this process, a new process is refused.
  const auto allow_where = [&](int call, unsigned argument, std::uint64_t mask, std::uint64_t value) {
    good = good &&
           seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 1, SCMP_CMP(argument, SCMP_CMP_MASKED_EQ, mask, value)) == 0;
  };
  constexpr std::uint64_t kExecutable = 4, kThread = 0x00010000;  // PROT_EXEC, CLONE_THREAD
  allow_where(SCMP_SYS(mmap), 2, kExecutable, 0);
  allow_where(SCMP_SYS(mprotect), 2, kExecutable, 0);
  allow_where(SCMP_SYS(clone), 0, kThread, kThread);
  good = good && seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) == 0;  // clone is taken then
  for (const int call : {SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(ptrace)})
    good = good && seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, call, 0) == 0;
  good = good && seccomp_load(filter) == 0;
  seccomp_release(filter);
  return good;
}
#else
bool enter_sandbox() {
  return true;
}
#endif

/// Makes every library load what it loads only once: files are out of reach afterwards.
void warm_up() {
  for (const auto* format : {"png", "jpeg", "webp"}) {
    try {
      const auto bytes = encode_image(Image(8, 8), format);
      (void)read_image({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}, "");
    } catch (const Error&) {
    }
  }
}

/// What tests ask of a worker, beside pictures.
void obey_marks(std::string_view bytes) {
  if (std::getenv("TESSERA_TEST_DECODING") == nullptr) return;
  if (bytes == testing::kFaultMarks[0]) ::raise(SIGSEGV);
  if (bytes == testing::kFaultMarks[1]) {
    const int file = ::open("/etc/passwd", O_RDONLY | O_CLOEXEC);
    require(file >= 0, "a file cannot be opened");
    ::close(file);
    fail("a file was opened");
  }
  volatile bool for_ever = bytes == testing::kFaultMarks[2];
  while (for_ever) {
  }
}

void answer(const Ask& ask, const std::string& name, const std::vector<std::uint8_t>& bytes) {
  Answer head{};
  Image image;
  std::string message;
  try {
    obey_marks({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    ReadOptions options;
    options.background = {ask.background[0], ask.background[1], ask.background[2]};
    options.max_pixels = ask.max_pixels;
    options.max_file_bytes = ask.max_file_bytes;
    options.keep_alpha = ask.keep_alpha != 0;
    image = read_image(bytes, name, options);
    head.width = image.width;
    head.height = image.height;
    head.pixels = image.pixels.size();
    head.rgba = image.rgba.size();
  } catch (const std::bad_alloc&) {
    message = name + ": needs more memory than a picture may take";
  } catch (const std::exception& error) {
    message = *error.what() != '\0' ? error.what() : "unknown reason";
  }
  message.resize(std::min<std::size_t>(message.size(), kMostMessage));
  head.message = static_cast<std::uint32_t>(message.size());
  constexpr auto kForEver = Clock::time_point::max();
  const bool told = send_all(kWorkerSocket, &head, sizeof(head), kForEver) &&
                    send_all(kWorkerSocket, message.data(), message.size(), kForEver) &&
                    (head.message > 0 || (send_all(kWorkerSocket, image.pixels.data(), image.pixels.size(), kForEver) &&
                                          send_all(kWorkerSocket, image.rgba.data(), image.rgba.size(), kForEver)));
  if (!told) ::_exit(0);
}

[[noreturn]] void work() {
  ::close_range(kWorkerSocket + 1, ~0U, 0);
  for (const int signal : {SIGINT, SIGHUP, SIGTERM})
    std::signal(signal, SIG_IGN);  // of the terminal: the parent decides
  warm_up();
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_FSIZE, 0);
  limit(RLIMIT_AS, address_space() + kMostMemory);
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (!enter_sandbox()) ::_exit(3);
  const char ready = 'r';
  if (!send_all(kWorkerSocket, &ready, 1, Clock::time_point::max())) ::_exit(0);
  while (true) {
    Ask ask{};
    if (!receive_all(kWorkerSocket, &ask, sizeof(ask))) ::_exit(0);
    std::string name(ask.name_bytes, '\0');
    std::vector<std::uint8_t> bytes(ask.bytes);
    if (!receive_all(kWorkerSocket, name.data(), name.size()) ||
        !receive_all(kWorkerSocket, bytes.data(), bytes.size()))
      ::_exit(0);
    answer(ask, name, bytes);
    // It waits for its next picture as small as it began; of small ones nothing is worth it.
    constexpr std::size_t kLarge = std::size_t{1} << 20;
    const bool large = bytes.size() > kLarge;
    bytes = {};
    if (large) give_back_free_memory();
  }
}

// --- the program's side

class Worker {
 public:
  Worker(const std::filesystem::path& program, int seconds) : seconds_(seconds) {
    int pair[2];
    require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0, "decoding process: no socket: {}",
            std::strerror(errno));
    socket_ = pair[0];
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    // To the number that it has already, dup2 would leave the socket to be closed.
    const int kept = pair[1] == kWorkerSocket ? ::fcntl(pair[1], F_DUPFD_CLOEXEC, kWorkerSocket + 1) : pair[1];
    ::posix_spawn_file_actions_adddup2(&actions, kept, kWorkerSocket);
    std::string path = program.string(), argument = kWorkerArgument;
    char* arguments[] = {path.data(), argument.data(), nullptr};
    const int status = ::posix_spawn(&process_, path.c_str(), &actions, nullptr, arguments, environ);
    ::posix_spawn_file_actions_destroy(&actions);
    if (kept != pair[1]) ::close(kept);
    ::close(pair[1]);
    if (status != 0) {
      ::close(socket_);
      fail("{}: cannot be started as a decoding process: {}", path, std::strerror(status));
    }
    char ready = 0;
    if (!receive_all(socket_, &ready, 1, Clock::now() + std::chrono::seconds(60))) {
      const auto why = end();
      fail("{}: no decoding process: {}", path, why);
    }
  }
  ~Worker() {
    if (process_ > 0) end();
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /// Throws Error as read_image() does. false: the worker is no good any more, `why` says how it ended.
  bool decode(std::span<const std::uint8_t> bytes, std::string_view name, const ReadOptions& options, Image& image,
              std::string& why) {
    Ask ask{};
    ask.bytes = bytes.size();
    ask.max_file_bytes = options.max_file_bytes;
    ask.max_pixels = options.max_pixels;
    ask.name_bytes = static_cast<std::uint32_t>(name.size());
    ask.background[0] = options.background.red;
    ask.background[1] = options.background.green;
    ask.background[2] = options.background.blue;
    ask.keep_alpha = options.keep_alpha;
    give_time();
    const auto until = Clock::now() + std::chrono::seconds(kWaitsFor * seconds_);
    Answer answer{};
    if (!send_all(socket_, &ask, sizeof(ask), until) || !send_all(socket_, name.data(), name.size(), until) ||
        !send_all(socket_, bytes.data(), bytes.size(), until) ||
        !receive_all(socket_, &answer, sizeof(answer), until)) {
      why = end();
      return false;
    }
    // What comes from there is a stranger's: sizes first.
    if (answer.message > 0) {
      std::string message(std::min(answer.message, kMostMessage), '\0');
      if (answer.message > kMostMessage || !receive_all(socket_, message.data(), message.size(), until)) {
        why = end();
        return false;
      }
      fail("{}", message);
    }
    const auto pixels =
        static_cast<std::uint64_t>(std::max(answer.width, 0)) * static_cast<std::uint64_t>(std::max(answer.height, 0));
    const bool fits = pixels > 0 && pixels <= kMostPixels && pixels <= static_cast<std::uint64_t>(options.max_pixels) &&
                      answer.pixels == 3 * pixels && (answer.rgba == 0 || answer.rgba == 4 * pixels);
    if (fits) {
      image.width = answer.width;
      image.height = answer.height;
      image.pixels.resize(answer.pixels);
      image.rgba.resize(answer.rgba);
    }
    if (!fits || !receive_all(socket_, image.pixels.data(), image.pixels.size(), until) ||
        !receive_all(socket_, image.rgba.data(), image.rgba.size(), until)) {
      why = end();
      return false;
    }
    return true;
  }

 private:
  /// At least so much of a processor from now on: the system counts whole seconds of the process's life.
  void give_time() const {
    clockid_t clock{};
    timespec used{};
    if (::clock_getcpuclockid(process_, &clock) != 0 || ::clock_gettime(clock, &used) != 0) return;
    const auto most = static_cast<rlim_t>(used.tv_sec + 1 + seconds_);
    const rlimit both{most, RLIM_INFINITY};
    ::prlimit(process_, RLIMIT_CPU, &both, nullptr);
  }

  /// Ends the process where it has not ended. Out: how it ended.
  std::string end() {
    ::close(socket_);
    int status = 0;
    pid_t ended = 0;
    for (int i = 0; i < 20 && ended == 0; ++i) {  // one that is ending by itself has something to say
      ended = ::waitpid(process_, &status, WNOHANG);
      if (ended == 0) ::usleep(5000);
    }
    if (ended == 0) {
      ::kill(process_, SIGKILL);
      ::waitpid(process_, &status, 0);
    }
    process_ = 0;
    if (ended == 0) return fmt::format("it took longer than {} s", kWaitsFor * seconds_);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU)
      return fmt::format("it took more than {} s of a processor", seconds_);
    if (WIFSIGNALED(status)) return fmt::format("its decoder was ended by signal {}", WTERMSIG(status));
    return fmt::format("its decoder ended with status {}", WEXITSTATUS(status));
  }

  const int seconds_;  // of a processor, for one picture
  int socket_ = -1;
  pid_t process_ = 0;
};

/// The workers that wait to be asked.
class Pool {
 public:
  void open(const std::filesystem::path& program, int workers, int seconds) {
    const std::lock_guard lock(mutex_);
    program_ = program;
    most_ = workers;
    seconds_ = seconds;
  }
  void close() {
    std::vector<std::unique_ptr<Worker>> ended;
    const std::lock_guard lock(mutex_);
    most_ = 0;
    ended.swap(idle_);
  }
  bool is_open() {
    const std::lock_guard lock(mutex_);
    return most_ > 0;
  }

  Image decode(std::span<const std::uint8_t> bytes, std::string_view name, const ReadOptions& options) {
    auto worker = take();
    const struct Leave {
      Pool& pool;
      ~Leave() { pool.leave(); }
    } leave{*this};
    Image image;
    std::string why;
    bool good = true;
    try {
      if (!worker) worker = std::make_unique<Worker>(program_, seconds_);
      good = worker->decode(bytes, name, options, image, why);
    } catch (const Error&) {
      give_back(std::move(worker));
      throw;
    }
    if (!good) {
      log().warn("decoding process: {}; another will be started", why);
      fail("{}: cannot be decoded: {}", name, why);
    }
    give_back(std::move(worker));
    return image;
  }

 private:
  std::unique_ptr<Worker> take() {
    std::unique_lock lock(mutex_);
    left_.wait(lock, [&] { return busy_ < most_; });
    ++busy_;
    if (idle_.empty()) return nullptr;
    auto worker = std::move(idle_.back());
    idle_.pop_back();
    return worker;
  }
  void give_back(std::unique_ptr<Worker> worker) {
    const std::lock_guard lock(mutex_);
    if (worker && most_ > 0) idle_.push_back(std::move(worker));
  }
  void leave() {
    {
      const std::lock_guard lock(mutex_);
      --busy_;
    }
    left_.notify_one();
  }

  std::mutex mutex_;
  std::condition_variable left_;
  std::filesystem::path program_;
  std::vector<std::unique_ptr<Worker>> idle_;
  int most_ = 0, busy_ = 0, seconds_ = 0;
};

Pool& pool() {
  static auto* one = new Pool;  // never taken apart: threads may still decode when the program ends
  return *one;
}

}  // namespace

void decode_apart(const std::filesystem::path& program, int workers, int seconds) {
  require(workers >= 1, "decoding processes: {}, expected at least 1", workers);
  pool().open(program, workers, seconds);
}
void decode_here() {
  pool().close();
}
bool decodes_apart() {
  return pool().is_open();
}

bool decoding_is_sandboxed() {
#ifdef TESSERA_WITH_SECCOMP
  return true;
#else
  return false;
#endif
}

bool decoding_worker(int argc, char** argv) {
  if (argc != 2 || std::string_view(argv[1]) != kWorkerArgument) return false;
  struct stat status {};
  require(::fstat(kWorkerSocket, &status) == 0 && S_ISSOCK(status.st_mode), "{}: only for this program's own use",
          kWorkerArgument);
  work();
}

Image read_image_apart(std::span<const std::uint8_t> bytes, std::string_view name, const ReadOptions& options) {
  require(bytes.size() <= std::min(options.max_file_bytes, kMostFile), "{}: {} bytes, expected at most {}", name,
          bytes.size(), std::min(options.max_file_bytes, kMostFile));
  return pool().decode(bytes, name.substr(0, 4096), options);
}

}  // namespace tessera
