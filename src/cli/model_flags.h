/// Flags that several verbs share: which model, on what, and how to sample.
#pragma once

#include <CLI/CLI.hpp>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "pipeline/pipeline.h"

namespace tessera::cli {

struct ModelFlags {
  std::string model;
  PipelineOptions options;
  int threads = 0;
};
void add_model_flags(CLI::App& verb, ModelFlags& flags);
/// Sets the threads and loads the bundle.
Pipeline load_model(const ModelFlags& flags);

struct SamplingFlags {
  FillOptions fill;
  std::int64_t steps = 0;  // 0: T of the model
  std::string sampler;     // empty: by the model's process
};
void add_sampling_flags(CLI::App& verb, SamplingFlags& flags);
/// The options with what the model decides filled in.
FillOptions resolve(const SamplingFlags& flags, Pipeline& pipeline);
/// For metadata and reports.
nlohmann::json to_json(const FillOptions& options);

}  // namespace tessera::cli
