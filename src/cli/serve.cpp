/// tessera serve: the HTTP service and the studio.
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <thread>

#include "cli/field_options.h"
#include "cli/model_flags.h"
#include "cli/result_line.h"
#include "cli/verbs.h"
#include "image/decoding_process.h"
#include "runtime/error.h"
#include "runtime/heap.h"
#include "runtime/log.h"
#include "runtime/stop_signal.h"
#include "runtime/threads.h"
#include "server/http_head.h"
#include "server/http_server.h"
#include "server/model_process.h"
#include "server/pipeline_backend.h"

namespace tessera::cli {
namespace {

struct ServeOptions {
  std::vector<std::string> models, origins, hosts;
  server::ListenOptions listen;
  server::ServiceLimits limits;
  PipelineOptions pipeline;
  std::string key_file, audit_file, certificate, private_key, workspace, loras;
  int threads = 0;
  bool decode_here = false, json = false;
};

server::AccessRules access_rules(const ServeOptions& options) {
  server::AccessRules rules;
  rules.loopback = server::is_loopback(options.listen.address);
  rules.origins = options.origins;
  for (const auto& host : options.hosts) {
    const auto name = server::host_of(host);
    if (name.empty() || name.size() != host.size())
      throw UsageError(fmt::format("--allow-host {}: expected a name or an address, without a port", host));
    rules.hosts.push_back(name);
  }
  for (const auto& origin : options.origins) server::check_origin(origin);
  if (!options.key_file.empty()) server::read_keys(options.key_file, rules);
  if (!rules.loopback && rules.key_digests.empty()) {
    throw UsageError(
        fmt::format("--listen {}: others could reach it, expected --api-key-file beside it", options.listen.address));
  }
  return rules;
}

/// What computes: the models in this process, or a process for each worker.
std::vector<std::unique_ptr<server::Backend>> make_backends(const ServeOptions& options, server::ModelStore& store,
                                                            const std::vector<server::ModelSource>& sources,
                                                            server::Metrics& metrics) {
  std::vector<std::unique_ptr<server::Backend>> backends;
  const auto count = static_cast<int>(options.limits.workers);
  if (count == 1) {
    backends.push_back(std::make_unique<server::PipelineBackend>(store));
    return backends;
  }
  const auto models = store.infos();
  for (int i = 0; i < count; ++i) {
    const server::ModelProcessOptions own{sources, options.pipeline, options.loras, options.limits, options.threads, i,
                                          count};
    const auto start = [own](const std::atomic<bool>& stopped) { return server::start_model_process(own, stopped); };
    backends.push_back(std::make_unique<server::ProcessBackend>(fmt::format("worker {}", i), models, start, metrics,
                                                                fmt::format("worker=\"{}\"", i)));
  }
  return backends;
}

volatile std::sig_atomic_t reload_requested = 0;

/// Keys, certificate and log file are opened anew at SIGHUP; what cannot be read stays as it was.
void reload(const ServeOptions& options, server::Service& service, server::HttpServer& http) {
  reload_requested = 0;
  try {
    if (!options.key_file.empty()) {
      server::AccessRules rules;
      server::read_keys(options.key_file, rules);
      service.set_keys(rules);
      log().info("{}: {} keys", options.key_file, rules.key_digests.size());
    }
    if (!options.certificate.empty())
      http.set_tls(std::make_shared<server::TlsContext>(options.certificate, options.private_key));
  } catch (const Error& error) {
    log().error("{}; going on with what was read before", error.what());
  }
  if (service.audit()) service.audit()->reopen();
}

/// Ends the program where stopping takes longer than it may, whatever still runs.
class StopsInTime {
 public:
  explicit StopsInTime(std::chrono::seconds most) {
    watch_ = std::thread([this, most] {
      std::unique_lock lock(mutex_);
      if (ended_.wait_for(lock, most, [this] { return done_; })) return;
      std::fprintf(stderr, "tessera: serve: work under way did not end within the grace; it was given up\n");
      std::_Exit(1);
    });
  }
  ~StopsInTime() {
    {
      const std::lock_guard lock(mutex_);
      done_ = true;
    }
    ended_.notify_all();
    watch_.join();
  }
  StopsInTime(const StopsInTime&) = delete;
  StopsInTime& operator=(const StopsInTime&) = delete;

 private:
  std::thread watch_;
  std::mutex mutex_;
  std::condition_variable ended_;
  bool done_ = false;
};

void serve(ServeOptions options) {
  options.limits.validate();
  const auto rules = access_rules(options);
  if (options.listen.port < 0 || options.listen.port > 65535) {
    throw UsageError(fmt::format("--port {}: expected 0 to 65535", options.listen.port));
  }
  std::vector<server::ModelSource> sources;
  for (const auto& model : options.models) sources.push_back(server::parse_model_source(model));
  if (options.certificate.empty() != options.private_key.empty())
    throw UsageError("--tls-certificate and --tls-key: expected both or neither");
  if (!options.certificate.empty())
    options.listen.tls = std::make_shared<server::TlsContext>(options.certificate, options.private_key);
  share_one_heap();
  set_threads(options.limits.workers > 1 ? 1 : options.threads);
  constexpr int kDecoders = 2;  // as many as uploads are decoded at one time
  if (!options.decode_here && decoding_is_sandboxed() && image_files_supported())
    decode_apart("/proc/self/exe", kDecoders);
  server::Metrics metrics;
  server::ModelStore store(sources, options.pipeline, static_cast<std::uint64_t>(options.limits.model_mib) << 20,
                           metrics, server::LoraFolder(options.loras));
  const auto backends = make_backends(options, store, sources, metrics);
  std::vector<server::Backend*> each;
  for (const auto& backend : backends) each.push_back(backend.get());
  server::Service service(
      each, metrics,
      {options.limits, rules,
       options.audit_file.empty() ? nullptr : std::make_shared<server::AuditLog>(options.audit_file),
       options.workspace});
  server::HttpServer http(service, options.listen);
  const StopSignal stop;
  // A service that others use does not end with a terminal.
  if (!options.key_file.empty() || !options.certificate.empty() || !options.audit_file.empty())
    std::signal(SIGHUP, [](int) { reload_requested = 1; });
  const auto port = http.bind();
  service.start();
  std::thread network([&] { http.run(); });
  const auto host = options.listen.address.find(':') == std::string::npos ? options.listen.address
                                                                          : fmt::format("[{}]", options.listen.address);
  const auto url = fmt::format("{}://{}:{}/", options.listen.tls ? "https" : "http", host, port);
  print_result(options.json, {{"url", url}, {"address", options.listen.address}, {"port", port}}, url);
  std::fflush(stdout);
  log().info("serving {} models; Ctrl-C stops after the present job", store.infos().size());
  while (!stop.requested()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    if (reload_requested != 0) reload(options, service, http);
  }
  log().info("stopping: jobs have {} s to finish", options.limits.grace_seconds);
  constexpr int kToldSeconds = 3;  // for clients to be told how their jobs ended
  const StopsInTime in_time(std::chrono::seconds(options.limits.grace_seconds + kToldSeconds));
  service.stop();
  std::this_thread::sleep_for(std::chrono::milliseconds(500));  // for watchers to be told how their jobs ended
  http.stop();
  network.join();
}

}  // namespace

void add_serve(CLI::App& app) {
  auto options = std::make_shared<ServeOptions>();
  auto* verb = app.add_subcommand("serve", "the HTTP service and the studio, on this machine's browser");
  verb->add_option("-m,--model", options->models, "bundle folder, or NAME=FOLDER; repeatable")
      ->envname("TESSERA_MODEL")
      ->required();
  verb->add_option("--loras", options->loras, "folder of LoRA files (.safetensors) that requests can name");
  verb->add_option("--listen", options->listen.address, "address; another than the loopback needs --api-key-file")
      ->capture_default_str();
  verb->add_option("--port", options->listen.port, "0: any free one")->capture_default_str();
  verb->add_option("--api-key-file", options->key_file,
                   "keys that clients must show, one a line, with quotas behind them; read again at SIGHUP");
  verb->add_option("--audit-log", options->audit_file, "file that gets a line of JSON for each request");
  verb->add_option("--tls-certificate", options->certificate, "PEM file, with its chain: answers https alone");
  verb->add_option("--tls-key", options->private_key, "PEM file of its private key");
  verb->add_option("--allow-origin", options->origins, "origin whose pages may ask (CORS); repeatable");
  verb->add_option("--allow-host", options->hosts,
                   "name of this machine that requests may come to, beside localhost; repeatable");
  verb->add_option("--workspace", options->workspace,
                   "folder that keeps jobs, results and pictures; made where it is missing [in memory alone]");
  options->pipeline.dtype = "auto";
  verb->add_option("--dtype", options->pipeline.dtype, kDtypeHelp)->capture_default_str();
  verb->add_option("--device", options->pipeline.device, kDeviceHelp)->capture_default_str();
  options->pipeline.map_weights = false;  // it runs for weeks, while its bundles may be copied over
  verb->add_flag("--map-weights", options->pipeline.map_weights,
                 "weights are read from the bundles' files as they are needed: less than half of the memory of a large "
                 "model; while it runs a bundle may be replaced by tessera's commands, not copied over");
  verb->add_option("-t,--threads", options->threads, "threads of each worker; 0: the processors, shared out")
      ->capture_default_str();
  verb->add_flag("--decode-in-process", options->decode_here,
                 "uploads are decoded by this process itself, not by one that can open no file and no connection");
  verb->add_flag("--json", options->json, "the address as JSON on standard output");
  const auto apply = add_field_options(*verb, options->limits.fields(), "Limits");
  verb->callback([options, apply] {
    apply();
    serve(*options);
  });
}

}  // namespace tessera::cli
