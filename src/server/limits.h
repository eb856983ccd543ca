/// What the service takes on at most. Every bound is checked before the memory or time is spent.
#pragma once

#include <cstdint>

#include "runtime/fields.h"

namespace tessera::server {

struct ServiceLimits {
  std::int64_t body_mib = 32;             // of a request's body, MiB
  std::int64_t bodies_mib = 128;          // of all requests' bodies at one time, MiB
  std::int64_t pixels = 1 << 20;          // of one result
  std::int64_t upload_pixels = 1 << 22;   // of one uploaded picture
  std::int64_t request_pixels = 1 << 24;  // of all pictures of one request together, and of all its results
  std::int64_t steps = 4096;              // denoiser steps
  std::int64_t count = 64;                // pictures of one job
  std::int64_t job_seconds = 1800;        // running time of one fill; 0: no bound
  std::int64_t queue = 64;                // jobs that wait
  std::int64_t queue_mib = 512;           // of pictures that waiting jobs hold, MiB
  std::int64_t workers = 1;               // processes that load models and compute; 1: the service's own
  std::int64_t batch = 16;                // pictures filled together
  std::int64_t gather_ms = 10;            // how long an idle worker waits for jobs to join the first; 0: not at all
  std::int64_t keep_seconds = 900;        // how long a finished job can be asked for
  std::int64_t results_mib = 512;         // of finished jobs' pictures, MiB; the oldest go first
  std::int64_t workspace_mib = 4096;      // of a workspace's results and pictures, MiB; starred ones stay; 0: no bound
  std::int64_t workspace_days = 0;        // how long a workspace keeps a job without a star; 0: no bound
  std::int64_t model_mib = 0;             // of weights held, MiB; the least recently used go first; 0: no bound
  std::int64_t connections = 256;         // at one time
  std::int64_t address_connections = 0;   // at one time from one address; 0: no bound of their own
  std::int64_t slow_seconds = 10;         // a request or answer must move 16 KiB a second after this many seconds
  std::int64_t grace_seconds = 30;        // for running jobs at SIGTERM; what is left is reported

  /// name, help and value: flags, help and capabilities follow from this list.
  Fields fields();
  /// Throws UsageError naming the limit that is out of range.
  void validate();
};

}  // namespace tessera::server
