/// The forward processes by name, and the one that a bundle's scheduler/ describes. To add one: a file in
/// diffusion/processes/ and a line of the table in processes.cpp.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "diffusion/process.h"
#include "runtime/registry.h"

namespace tessera {

struct NamedProcess {
  std::string name;  // one of processes()
  std::shared_ptr<const Process> process;
};

/// What a process is made of.
struct ProcessInput {
  const nlohmann::json& config;  // scheduler/config.json
  std::int64_t codes = 0, steps = 0;
  const torch::Tensor& codebook;  // [K, D]; undefined where there is none
  const std::string& where;       // begins an error
};

struct ProcessEntry {
  std::string name, help;
  bool has_mask = false;
  std::shared_ptr<const Process> (*make)(const ProcessInput& input) = nullptr;
  bool needs_time = true;                     // false: a network that does not see the time can reverse it too
  std::string class_name = "TesseraProcess";  // `_class_name` of scheduler/config.json
};

Registry<ProcessEntry>& processes();

/// The one that a network without times reverses, and that a recipe has where it names none.
const ProcessEntry& default_process();

/// The name in the content of scheduler/config.json: `tessera.process`, or the one of the hub's class; empty: neither.
std::string process_name(const nlohmann::json& config);

/// The content of scheduler/config.json. Throws UsageError listing the processes.
nlohmann::json process_config(const std::string& name, std::int64_t codes, std::int64_t total_steps);

/// In: scheduler/config.json, the codes and time steps that the denoiser has, and the codebook [K, D]
/// (nearest-embedding). Throws Error where they do not fit; an unknown process lists the choices.
NamedProcess make_process(const nlohmann::json& config, std::int64_t codes, std::int64_t total_steps,
                          const torch::Tensor& codebook, const std::string& where);

}  // namespace tessera
