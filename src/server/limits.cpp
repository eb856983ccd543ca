#include "server/limits.h"

#include "runtime/error.h"

namespace tessera::server {

Fields ServiceLimits::fields() {
  return {
      {"max_body_mib", "of a request's body, MiB", &body_mib},
      {"max_bodies_mib", "of all requests' bodies at one time, MiB; more wait, and are answered 503 then", &bodies_mib},
      {"max_pixels", "of one result", &pixels},
      {"max_upload_pixels", "of one uploaded picture", &upload_pixels},
      {"max_request_pixels", "of all pictures of one request, and of all its results", &request_pixels},
      {"max_steps", "denoiser steps", &steps},
      {"max_count", "pictures of one job", &count},
      {"max_job_seconds", "running time of one fill; 0: no bound", &job_seconds},
      {"max_queue", "jobs that wait; more are answered 429", &queue},
      {"max_queue_mib", "of pictures that waiting jobs hold, MiB", &queue_mib},
      {"workers",
       "processes that load models and compute, each its own; of several GPUs (--device cuda) each takes one; 1: the "
       "service's own process does",
       &workers},
      {"max_batch", "pictures filled together", &batch},
      {"gather_ms", "how long an idle worker waits for jobs to join the first, ms; 0: not at all", &gather_ms},
      {"keep_seconds", "how long a finished job can be asked for", &keep_seconds},
      {"max_results_mib", "of finished jobs' pictures, MiB; the oldest go first", &results_mib},
      {"max_workspace_mib", "of a workspace's pictures, MiB; the oldest without a star go first; 0: no bound",
       &workspace_mib},
      {"max_workspace_days", "how long a workspace keeps a job without a star; 0: no bound", &workspace_days},
      {"max_model_mib", "of weights held by each worker, MiB; the least recently used model goes first; 0: no bound",
       &model_mib},
      {"max_connections", "at one time", &connections},
      {"max_address_connections", "at one time from one address; 0: no bound of their own", &address_connections},
      {"slow_seconds", "a request or answer must move 16 KiB a second after this many seconds", &slow_seconds},
      {"grace_seconds", "for running jobs when the program is told to stop; what is left is reported", &grace_seconds},
  };
}

void ServiceLimits::validate() {
  constexpr std::int64_t kMostWorkers = 256;
  if (workers < 1 || workers > kMostWorkers)
    throw UsageError(fmt::format("--workers {}: expected 1 to {}", workers, kMostWorkers));
  for (const auto& field : fields()) {
    const auto value = *std::get<std::int64_t*>(field.target);
    const bool may_be_zero = field.help.find("0: no") != std::string::npos || field.name == "grace_seconds";
    if (value < (may_be_zero ? 0 : 1) || value > std::int64_t{1} << 32) {
      throw UsageError(fmt::format("{} {}: expected {} to {}", field.flag(), value, may_be_zero ? 0 : 1, 1LL << 32));
    }
  }
}

}  // namespace tessera::server
