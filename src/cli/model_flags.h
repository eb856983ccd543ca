/// Flags that several verbs share: which model, on what, and how to sample.
#pragma once

#include <CLI/CLI.hpp>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "pipeline/pipeline.h"

namespace tessera::cli {

inline constexpr const char* kDtypeHelp =
    "of the products: float32, bfloat16, int8 (the denoiser's linear layers) or auto (bfloat16 where the CPU has AMX or AVX512-BF16)";

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
  PromptOptions prompt;
  std::int64_t steps = 0;  // 0: T of the model
  std::string sampler;     // empty: by the model's process
  std::optional<double> temperature;  // none: 1, or 0.8 on a canvas larger than the model's own (the paper's)
};
void add_sampling_flags(CLI::App& verb, SamplingFlags& flags);
/// The options with what the model decides filled in. canvas: the grid that will be filled.
FillOptions resolve(const SamplingFlags& flags, Pipeline& pipeline, Extent canvas = {});
/// For metadata and reports.
nlohmann::json to_json(const FillOptions& options);

}  // namespace tessera::cli
