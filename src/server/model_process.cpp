#include "server/model_process.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <torch/torch.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <string_view>
#include <thread>

#include "runtime/log.h"
#include "runtime/processor_nodes.h"
#include "runtime/threads.h"
#include "server/backend_server.h"
#include "server/job.h"
#include "server/pipeline_backend.h"

extern char** environ;

namespace tessera::server {
namespace {

using nlohmann::json;

constexpr const char* kArgument = "--model-process";
constexpr int kSocket = 3;
constexpr std::uint64_t kFirstMessage = std::uint64_t{16} << 20;  // bytes, before the limits are known

// --- what it is told first

Message first_message(const ModelProcessOptions& options) {
  Message message;
  auto& head = message.head;
  head["models"] = json::array();
  for (const auto& model : options.models)
    head["models"].push_back({{"name", model.name}, {"folder", model.folder.string()}});
  head["dtype"] = options.pipeline.dtype;
  head["device"] = options.pipeline.device;
  head["map_weights"] = options.pipeline.map_weights;
  head["loras"] = options.loras;
  head["threads"] = options.threads;
  head["number"] = options.number;
  head["count"] = options.count;
  head["level"] = static_cast<int>(log().level());
  auto limits = options.limits;
  for (const auto& field : limits.fields()) head["limits"][field.name] = *std::get<std::int64_t*>(field.target);
  return message;
}

ModelProcessOptions read_first(const Message& message) {
  const auto& head = message.head;
  ModelProcessOptions options;
  for (const auto& model : head.at("models"))
    options.models.push_back({model.at("name").get<std::string>(), model.at("folder").get<std::string>()});
  options.pipeline.dtype = head.at("dtype");
  options.pipeline.device = head.at("device");
  options.pipeline.map_weights = head.at("map_weights");
  options.loras = head.at("loras");
  options.threads = head.at("threads");
  options.number = head.at("number");
  options.count = head.at("count");
  log().set_level(static_cast<spdlog::level::level_enum>(head.at("level").get<int>()));
  for (const auto& field : options.limits.fields())
    *std::get<std::int64_t*>(field.target) = head.at("limits").at(field.name);
  return options;
}

// --- the process's side

/// Of several GPUs each worker takes its own.
std::string device_of(const ModelProcessOptions& options) {
  const auto& device = options.pipeline.device;
  if (device != "cuda" || !torch::cuda::is_available()) return device;
  const auto gpus = std::max(1, static_cast<int>(torch::cuda::device_count()));
  return fmt::format("cuda:{}", options.number % gpus);
}

void serve_models() {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // had the parent ended before, its end of the socket is closed
  ::close_range(kSocket + 1, ~0U, 0);
  for (const int signal : {SIGINT, SIGHUP, SIGTERM}) std::signal(signal, SIG_IGN);  // the parent decides
  MessageSocket first(::fcntl(kSocket, F_DUPFD_CLOEXEC, kSocket + 1), kFirstMessage);
  auto options = read_first(first.receive());
  // Of the processors each worker takes its share, those of one socket where there are several.
  set_threads(settle_worker(options.number, options.count, options.threads));
  options.pipeline.device = device_of(options);
  Metrics metrics;
  ModelStore store(options.models, options.pipeline, static_cast<std::uint64_t>(options.limits.model_mib) << 20,
                   metrics, LoraFolder(options.loras));
  PipelineBackend backend(store);
  MessageSocket socket(kSocket, most_message_bytes(options.limits));
  Message ready;
  ready.head["ready"] = true;
  socket.send(ready);
  BackendServer(socket, backend, options.limits, &metrics).run();
}

// --- the service's side

class ModelProcess : public Peer {
 public:
  ModelProcess(const ModelProcessOptions& options, const std::atomic<bool>& stopped) {
    int pair[2];
    require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0, "no socket: {}", std::strerror(errno));
    socket_ = std::make_unique<MessageSocket>(pair[0], most_message_bytes(options.limits));
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    // To the number that it has already, dup2 would leave the socket to be closed.
    const int kept = pair[1] == kSocket ? ::fcntl(pair[1], F_DUPFD_CLOEXEC, kSocket + 1) : pair[1];
    ::posix_spawn_file_actions_adddup2(&actions, kept, kSocket);
    std::string program = "/proc/self/exe", name = "tessera", argument = kArgument;
    char* arguments[] = {name.data(), argument.data(), nullptr};
    const int status = ::posix_spawn(&process_, program.c_str(), &actions, nullptr, arguments, environ);
    ::posix_spawn_file_actions_destroy(&actions);
    if (kept != pair[1]) ::close(kept);
    ::close(pair[1]);
    if (status != 0) {
      process_ = -1;
      fail("cannot be started: {}", std::strerror(status));
    }
    try {
      socket_->send(first_message(options));
      wait_ready(stopped);
    } catch (const PeerGone&) {
      fail("cannot be started: {}", end());
    } catch (const Error&) {
      end();
      throw;
    }
  }
  ~ModelProcess() override { end(); }
  ModelProcess(const ModelProcess&) = delete;
  ModelProcess& operator=(const ModelProcess&) = delete;

  MessageSocket& socket() override { return *socket_; }
  std::string name() const override { return fmt::format("process {}", process_); }

  bool ended() override {
    if (how_.empty() && ::waitpid(process_, &status_, WNOHANG) == process_) how_ = described();
    return !how_.empty();
  }

  std::string end() override {
    constexpr auto kPatience = std::chrono::seconds(1);
    socket_->shut();  // it ends by itself where it waits for a call
    const auto until = Clock::now() + kPatience;
    while (!ended() && Clock::now() < until) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    if (ended()) return how_;
    ::kill(process_, SIGKILL);
    while (::waitpid(process_, &status_, 0) < 0 && errno == EINTR) {
    }
    return how_ = "did not answer any more and was ended";
  }

 private:
  void wait_ready(const std::atomic<bool>& stopped) const {
    constexpr auto kMost = std::chrono::seconds(120);
    const auto until = Clock::now() + kMost;
    while (!socket_->wait(std::chrono::milliseconds(100))) {
      require(!stopped, "the server is stopping");
      require(Clock::now() < until, "was not ready within {} s", kMost.count());
    }
    (void)socket_->receive();
  }
  std::string described() const {
    if (WIFSIGNALED(status_)) {
      const int signal = WTERMSIG(status_);
      return fmt::format("was ended by signal {} ({}{})", signal, ::strsignal(signal),
                         signal == SIGKILL ? ", as a system without memory does" : "");
    }
    return fmt::format("ended with status {}", WEXITSTATUS(status_));
  }

  std::unique_ptr<MessageSocket> socket_;
  pid_t process_ = -1;
  int status_ = 0;
  std::string how_;  // empty: it lives
};

}  // namespace

std::unique_ptr<Peer> start_model_process(const ModelProcessOptions& options, const std::atomic<bool>& stopped) {
  return std::make_unique<ModelProcess>(options, stopped);
}

bool model_process(int argc, char** argv) {
  if (argc != 2 || std::string_view(argv[1]) != kArgument) return false;
  try {
    struct stat status {};
    require(::fstat(kSocket, &status) == 0 && S_ISSOCK(status.st_mode), "{}: only for this program's own use",
            kArgument);
    serve_models();
  } catch (const PeerGone&) {
    return true;  // while it was told what to do
  } catch (const std::exception& error) {
    log().error("{}", error.what());
    std::_Exit(1);
  }
  return true;
}

}  // namespace tessera::server
