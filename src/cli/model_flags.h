/// Flags that several verbs share: which model, on what, and how to sample.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "pipeline/sampling_choice.h"

namespace tessera::cli {

inline constexpr const char* kDtypeHelp =
    "of the products: float32, bfloat16, float16 (GPUs), int8 (CPUs, the denoiser's linear layers) or auto (bfloat16 "
    "where the CPU has AMX or AVX512-BF16, float16 on GPUs)";
inline constexpr const char* kDeviceHelp = "cpu, cuda or cuda:N";

struct ModelFlags {
  std::string model;
  PipelineOptions options;
  std::vector<std::string> loras;  // FILE or FILE:WEIGHT
  int threads = 0;
};
void add_model_flags(CLI::App& verb, ModelFlags& flags);
/// --lora, of verbs that use the prior.
void add_lora_flag(CLI::App& verb, std::vector<std::string>& loras);
/// For records: the files' names and weights, "style.safetensors:0.8".
std::vector<std::string> names_of_loras(const ModelFlags& flags);
/// Sets the threads and loads the bundle.
Pipeline load_model(const ModelFlags& flags);

using SamplingFlags = SamplingChoice;
void add_sampling_flags(CLI::App& verb, SamplingFlags& flags);
/// The flags that make another process of this program fill in the same way: {"--steps", "50", ..}. given: its
/// conditions go along.
std::vector<std::string> sampling_arguments(const FillOptions& fill, const SamplingOptions& given);

}  // namespace tessera::cli
