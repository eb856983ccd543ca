#include "distributed/local_job.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <thread>

#include "runtime/error.h"
#include "runtime/stop_signal.h"
#include "runtime/threads.h"

#ifdef TESSERA_WITH_GLOO
#include "distributed/tcp_store.h"
#endif

extern char** environ;

namespace tessera {
namespace {

using Clock = std::chrono::steady_clock;

class Child {
 public:
  Child(const LocalProcess& process, bool shown) {
    if (!shown) said_ = ::memfd_create("tessera-rank", MFD_CLOEXEC);
    std::vector<std::string> variables = merged(process.variables);
    std::vector<char*> arguments = pointers(process.arguments), environment = pointers(variables);
    const pid_t parent = ::getpid();
    process_ = ::fork();
    require(process_ >= 0, "cannot start a process: {}", std::strerror(errno));
    if (process_ > 0) return;
    // In the child, where only what is safe in a signal's handler may be called until the program begins.
    ::setpgid(0, 0);  // a terminal's Ctrl-C comes once, handed on by the parent
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != parent) ::_exit(1);
    if (said_ >= 0) {
      ::dup2(said_, STDERR_FILENO);
      ::dup2(said_, STDOUT_FILENO);
    }
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) std::signal(signal, SIG_DFL);
    ::execve("/proc/self/exe", arguments.data(), environment.data());
    ::_exit(127);
  }
  ~Child() {
    if (said_ >= 0) ::close(said_);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  /// Whether it ended just now.
  bool look() {
    if (ended_) return false;
    int status = 0;
    while (::waitpid(process_, &status, WNOHANG | WUNTRACED | WCONTINUED) == process_) {
      if (WIFSTOPPED(status)) stopped_ = true;
      if (WIFCONTINUED(status)) stopped_ = false;
      if (!WIFEXITED(status) && !WIFSIGNALED(status)) continue;
      ended_ = true;
      signalled_ = WIFSIGNALED(status);
      status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
      return true;
    }
    return false;
  }
  void signal(int number) const {
    if (!ended_) ::kill(process_, number);
  }
  bool ended() const { return ended_; }
  bool stopped() const { return stopped_ && !ended_; }
  bool spoke() const { return ended_ && !signalled_ && status_ != 0; }
  int status() const { return status_; }
  pid_t process() const { return process_; }
  /// Its last line on standard error; empty: none.
  std::string last_line() const {
    if (said_ < 0) return {};
    constexpr off_t kMost = 65536;
    const auto size = ::lseek(said_, 0, SEEK_END);
    const auto from = std::max<off_t>(0, size - kMost);
    std::string text(static_cast<std::size_t>(size - from), '\0');
    const auto count = ::pread(said_, text.data(), text.size(), from);
    text.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
    while (!text.empty() && text.back() == '\n') text.pop_back();
    return text.substr(text.rfind('\n') + 1);
  }

 private:
  static std::vector<char*> pointers(const std::vector<std::string>& texts) {
    std::vector<char*> result;
    for (const auto& text : texts) result.push_back(const_cast<char*>(text.c_str()));
    result.push_back(nullptr);
    return result;
  }
  static std::vector<std::string> merged(const std::vector<Variable>& over) {
    std::map<std::string, std::string> all;
    for (char** each = environ; *each != nullptr; ++each) {
      const std::string text = *each;
      const auto at = text.find('=');
      if (at != std::string::npos) all[text.substr(0, at)] = text.substr(at + 1);
    }
    for (const auto& [name, value] : over) all[name] = value;
    std::vector<std::string> result;
    for (const auto& [name, value] : all) result.push_back(fmt::format("{}={}", name, value));
    return result;
  }

  pid_t process_ = -1;
  int said_ = -1;  // what it says; below zero: shown
  bool ended_ = false, stopped_ = false, signalled_ = false;
  int status_ = 0;
};

}  // namespace

int run_processes(const std::vector<LocalProcess>& processes, double grace) {
  std::vector<std::unique_ptr<Child>> children;
  const StopSignal stop;
  for (const auto& process : processes) children.push_back(std::make_unique<Child>(process, children.empty()));
  int failed = 0;
  bool told = false;
  std::optional<Clock::time_point> last;  // end of one, since the first failed
  while (true) {
    bool running = false, all_stopped = true;
    for (auto& child : children) {
      if (child->look() && (child->status() != 0 || last)) {
        if (failed == 0) failed = child->status();
        last = Clock::now();
      }
      running = running || !child->ended();
      all_stopped = all_stopped && (child->ended() || child->stopped());
    }
    if (!running) break;
    if (stop.requested() && !told) {
      told = true;
      for (const auto& child : children) child->signal(SIGTERM);
    }
    if (last && (all_stopped || std::chrono::duration<double>(Clock::now() - *last).count() > grace)) {
      for (const auto& child : children) child->signal(SIGKILL);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  if (failed != 0 && !children.front()->spoke()) {
    for (const auto& child : children) {
      if (!child->spoke() || child->last_line().empty()) continue;
      std::fprintf(stderr, "%s\n", child->last_line().c_str());
      break;
    }
  }
  return failed;
}

std::vector<std::string> own_arguments() {
  std::vector<std::string> arguments;
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  for (std::string argument; std::getline(file, argument, '\0');) arguments.push_back(argument);
  return arguments;
}

#ifdef TESSERA_WITH_GLOO
int run_as_ranks(int processes, double rank_timeout) {
  constexpr double kGrace = 15;  // seconds beyond the time in which ranks notice a loss
  const auto options = tcp_store_options(0, true);
  const auto store = c10::make_intrusive<c10d::TCPStore>("127.0.0.1", options);
  std::vector<LocalProcess> children;
  for (int rank = 0; rank < processes; ++rank) {
    const auto count = std::to_string(processes), own = std::to_string(rank);
    children.push_back({own_arguments(),
                        {{"RANK", own},
                         {"LOCAL_RANK", own},
                         {"WORLD_SIZE", count},
                         {"LOCAL_WORLD_SIZE", count},
                         {"MASTER_ADDR", "127.0.0.1"},
                         {"MASTER_PORT", std::to_string(store->getPort())},
                         {"TORCHELASTIC_USE_AGENT_STORE", "True"},
                         {"TORCHELASTIC_RESTART_COUNT", "0"},
                         {kProcessesVariable, count}}});
  }
  return run_processes(children, rank_timeout + kGrace);
}
#else
int run_as_ranks(int processes, double) {
  fail("--processes {}: this tessera was built without Gloo (libgloo-dev, and a LibTorch that has it), expected 1",
       processes);
}
#endif

}  // namespace tessera
