#include "server/metrics.h"

#include <fmt/format.h>

#include <array>

namespace tessera::server {
namespace {

struct Family {
  const char *name, *type, *help;
};

constexpr std::array kFamilies = {
    Family{"tessera_http_requests_total", "counter", "Requests answered, by status."},
    Family{"tessera_http_connections", "gauge", "Open connections."},
    Family{"tessera_http_connections_refused_total", "counter", "Connections closed because there were too many."},
    Family{"tessera_http_slow_total", "counter", "Connections closed because they moved too few bytes."},
    Family{"tessera_jobs_total", "counter", "Jobs that came to an end, by state."},
    Family{"tessera_jobs_submitted_total", "counter", "Jobs taken into the queue, by verb."},
    Family{"tessera_jobs_refused_total", "counter", "Jobs answered 429 because the queue was full."},
    Family{"tessera_jobs_waiting", "gauge", "Jobs in the queue."},
    Family{"tessera_jobs_kept", "gauge", "Jobs that can be asked for."},
    Family{"tessera_queue_limit", "gauge", "Jobs that the queue holds at most."},
    Family{"tessera_results_bytes", "gauge", "Pictures and tokens of finished jobs."},
    Family{"tessera_fills_total", "counter", "Fills run."},
    Family{"tessera_fill_images_total", "counter", "Pictures filled."},
    Family{"tessera_fill_joined_total", "counter", "Fills that held pictures of more than one job."},
    Family{"tessera_fills_between_total", "counter", "Fills run between two pieces of larger work."},
    Family{"tessera_fill_seconds_total", "counter", "Time spent in fills."},
    Family{"tessera_evaluations_total", "counter", "Evaluations of a denoiser."},
    Family{"tessera_previews_total", "counter", "Preview pictures made."},
    Family{"tessera_preview_seconds_total", "counter", "Time spent on previews."},
    Family{"tessera_models_loaded", "gauge", "Models in memory."},
    Family{"tessera_model_bytes", "gauge", "Weights in memory."},
    Family{"tessera_worker_ends_total", "counter", "Processes of workers that ended and were started again."},
    Family{"tessera_resident_bytes", "gauge", "Memory of the process."},
};

}  // namespace

void Metrics::add(const std::string& name, const std::string& labels, double by) {
  const std::lock_guard lock(mutex_);
  series_[name][labels] += by;
}

void Metrics::set(const std::string& name, double value, const std::string& labels) {
  const std::lock_guard lock(mutex_);
  series_[name][labels] = value;
}

double Metrics::value(const std::string& name, const std::string& labels) const {
  const std::lock_guard lock(mutex_);
  const auto family = series_.find(name);
  if (family == series_.end()) return 0;
  const auto found = family->second.find(labels);
  return found == family->second.end() ? 0 : found->second;
}

std::string Metrics::text() const {
  const std::lock_guard lock(mutex_);
  std::string text;
  for (const auto& family : kFamilies) {
    text += fmt::format("# HELP {} {}\n# TYPE {} {}\n", family.name, family.help, family.name, family.type);
    const auto found = series_.find(family.name);
    if (found == series_.end()) {
      text += fmt::format("{} 0\n", family.name);
      continue;
    }
    for (const auto& [labels, value] : found->second) {
      text += labels.empty() ? fmt::format("{} {}\n", family.name, value)
                             : fmt::format("{}{{{}}} {}\n", family.name, labels, value);
    }
  }
  return text;
}

}  // namespace tessera::server
