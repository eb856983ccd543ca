/// tessera run JOB.json: a job in the service's own words, done here or by a service.
#include <nlohmann/json.hpp>

#include "cli/model_flags.h"
#include "cli/server_jobs.h"
#include "cli/verbs.h"
#include "runtime/atomic_file.h"
#include "runtime/bounded_json.h"
#include "runtime/error.h"
#include "runtime/threads.h"
#include "server/base64.h"
#include "server/http_client.h"
#include "server/pipeline_backend.h"
#include "server/service.h"

namespace tessera::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::uint64_t kMostJob = std::uint64_t{1} << 30;  // bytes of the file, pictures in it included

struct RunOptions {
  ModelFlags model;
  ServerFlags server;
  std::string job;
  JobOutput output{"made", {}, false};
};

/// A picture of a job may be the name of a file beside the job's own.
void take_in(json& picture, const fs::path& folder) {
  constexpr std::size_t kLongestName = 4096;
  if (!picture.is_string() || picture.get_ref<const std::string&>().size() > kLongestName) return;
  std::error_code code;
  const auto path = folder / picture.get<std::string>();
  if (fs::is_regular_file(path, code)) picture = server::to_base64(read_file(path, ReadOptions{}.max_file_bytes));
}

json read_job(const std::string& path) {
  auto job = path == "-" ? read_json_object(read_standard_input(kMostJob), "standard input")
                         : read_json_object(read_file(path, kMostJob), path);
  const auto folder = path == "-" ? fs::path() : fs::path(path).parent_path();
  for (const auto* name : {"image", "mask", "keep_mask", "onto"}) {
    if (job.contains(name)) take_in(job[name], folder);
  }
  if (job.contains("pieces") && job["pieces"].is_array()) {
    for (auto& piece : job["pieces"]) {
      if (piece.is_object() && piece.contains("image")) take_in(piece["image"], folder);
    }
  }
  return job;
}

/// What a service bounds for others, wide.
server::ServiceLimits own_limits() {
  server::ServiceLimits limits;
  limits.count = 100000;
  limits.pixels = limits.upload_pixels = std::int64_t{1} << 26;
  limits.request_pixels = std::int64_t{1} << 32;
  limits.job_seconds = 0;
  limits.results_mib = std::int64_t{1} << 16;
  limits.gather_ms = 0;
  limits.validate();
  return limits;
}

void run_here(const RunOptions& options, json job) {
  set_threads(options.model.threads);
  auto source = server::parse_model_source(options.model.model);
  job["model"] = source.name;
  server::Metrics metrics;
  server::ModelStore store({source}, options.model.options, 0, metrics);
  server::PipelineBackend backend(store);
  server::Service service(backend, metrics, {own_limits(), {}, nullptr, {}});
  service.start();
  struct Stopping {
    server::Service& service;
    ~Stopping() { service.stop(); }
  } stopping{service};
  run_job(*server::local_service(service), std::move(job), options.output);
}

void run(const RunOptions& options) {
  auto job = read_job(options.job);
  if (options.server.url.empty()) return run_here(options, std::move(job));
  if (!options.model.model.empty()) job["model"] = server::parse_model_source(options.model.model).name;
  run_job(*server::remote_service(options.server.url, api_key()), std::move(job), options.output);
}

}  // namespace

void add_run(CLI::App& app) {
  auto options = std::make_shared<RunOptions>();
  auto* verb = app.add_subcommand("run", "do a job that a file describes, as the HTTP service takes it");
  verb->add_option("job", options->job,
                   "JSON of POST /api/v1/jobs (-: standard input); pictures may be names of files beside it")
      ->required();
  add_model_flags(*verb, options->model);
  add_server_flag(*verb, options->server);
  verb->add_option("-o,--output", options->output.output, kOutputHelp)->capture_default_str();
  verb->add_option("--earlier", options->output.earlier.choice, EarlierResults::kHelp)->capture_default_str();
  verb->add_flag("--json", options->output.json, "the job as it ended, as JSON on standard output");
  verb->callback([options] { run(*options); });
}

}  // namespace tessera::cli
