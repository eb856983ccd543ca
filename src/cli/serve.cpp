/// tessera serve: the HTTP service and the studio.
#include <chrono>
#include <thread>

#include "cli/field_options.h"
#include "cli/model_flags.h"
#include "cli/threads.h"
#include "cli/verbs.h"
#include "runtime/error.h"
#include "runtime/log.h"
#include "runtime/stop_signal.h"
#include "server/http_head.h"
#include "server/http_server.h"
#include "server/pipeline_backend.h"

namespace tessera::cli {
namespace {

struct ServeOptions {
  std::vector<std::string> models, origins, hosts;
  server::ListenOptions listen;
  server::ServiceLimits limits;
  PipelineOptions pipeline;
  std::string key_file, workspace;
  int threads = 0;
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
  if (!options.key_file.empty()) rules.key_digests = server::read_key_digests(options.key_file);
  if (!rules.loopback && rules.key_digests.empty()) {
    throw UsageError(
        fmt::format("--listen {}: others could reach it, expected --api-key-file beside it", options.listen.address));
  }
  return rules;
}

void serve(ServeOptions options) {
  options.limits.validate();
  const auto rules = access_rules(options);
  if (options.listen.port < 0 || options.listen.port > 65535) {
    throw UsageError(fmt::format("--port {}: expected 0 to 65535", options.listen.port));
  }
  std::vector<server::ModelSource> sources;
  for (const auto& model : options.models) sources.push_back(server::parse_model_source(model));
  set_threads(options.threads);
  server::Metrics metrics;
  server::ModelStore store(std::move(sources), options.pipeline,
                           static_cast<std::uint64_t>(options.limits.model_mib) << 20, metrics);
  server::PipelineBackend backend(store);
  server::Service service(backend, metrics, {options.limits, rules, options.workspace});
  server::HttpServer http(service, options.listen);
  const StopSignal stop;
  const auto port = http.bind();
  service.start();
  std::thread network([&] { http.run(); });
  const auto host = options.listen.address.find(':') == std::string::npos ? options.listen.address
                                                                          : fmt::format("[{}]", options.listen.address);
  fmt::print("http://{}:{}/\n", host, port);
  std::fflush(stdout);
  log().info("serving {} models; Ctrl-C stops after the present job", store.infos().size());
  while (!stop.requested()) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  log().info("stopping: jobs have {} s to finish", options.limits.grace_seconds);
  service.stop();
  std::this_thread::sleep_for(std::chrono::milliseconds(500));  // for watchers to be told how their jobs ended
  http.stop();
  network.join();
}

}  // namespace

void add_serve(CLI::App& app) {
  auto options = std::make_shared<ServeOptions>();
  auto* verb = app.add_subcommand("serve", "the HTTP service and the studio, on this machine's browser");
  verb->add_option("-m,--model", options->models, "bundle folder, or NAME=FOLDER; repeatable")->required();
  verb->add_option("--listen", options->listen.address, "address; another than the loopback needs --api-key-file")
      ->capture_default_str();
  verb->add_option("--port", options->listen.port, "0: any free one")->capture_default_str();
  verb->add_option("--api-key-file", options->key_file, "keys that clients must show, one a line");
  verb->add_option("--allow-origin", options->origins, "origin whose pages may ask (CORS); repeatable");
  verb->add_option("--allow-host", options->hosts,
                   "name of this machine that requests may come to, beside localhost; repeatable");
  verb->add_option("--workspace", options->workspace,
                   "folder that keeps jobs, results and pictures; made where it is missing [in memory alone]");
  options->pipeline.dtype = "auto";
  verb->add_option("--dtype", options->pipeline.dtype, kDtypeHelp)->capture_default_str();
  verb->add_option("--device", options->pipeline.device, kDeviceHelp)->capture_default_str();
  verb->add_option("-t,--threads", options->threads, "threads; 0: one a processor")->capture_default_str();
  const auto apply = add_field_options(*verb, options->limits.fields(), "Limits");
  verb->callback([options, apply] {
    apply();
    serve(*options);
  });
}

}  // namespace tessera::cli
