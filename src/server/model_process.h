/// A process of this program that holds models and computes for a service: a worker of `tessera serve --workers N`.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "pipeline/pipeline.h"
#include "server/limits.h"
#include "server/model_store.h"
#include "server/process_backend.h"

namespace tessera::server {

/// What a worker is to serve.
struct ModelProcessOptions {
  std::vector<ModelSource> models;
  PipelineOptions pipeline;  // device "cuda": of several GPUs worker i takes number i
  std::string loras;         // folder; empty: none
  ServiceLimits limits;
  int threads = 0;            // 0: its share of the processors
  int number = 0, count = 1;  // this one of so many
};

/// Starts the program once more and waits until it is ready. It ends with this process, or with the thread that started
/// it. Throws Error.
std::unique_ptr<Peer> start_model_process(const ModelProcessOptions& options, const std::atomic<bool>& stopped);

/// The whole life of such a process where the program was started as one: true, and the program is to end. To be called
/// in main() before threads are started.
bool model_process(int argc, char** argv);

}  // namespace tessera::server
