/// The process that a bundle's scheduler/ describes.
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
};

/// To add one: a function and a line of the table in process_config.cpp.
Registry<ProcessEntry>& processes();

/// In: scheduler/config.json (`tessera.process`, or the hub's VQDiffusionScheduler), the codes and time steps that the
/// denoiser has, and the codebook [K, D] (nearest-embedding). Throws Error where they do not fit; an unknown process
/// lists the choices.
NamedProcess make_process(const nlohmann::json& config, std::int64_t codes, std::int64_t total_steps,
                          const torch::Tensor& codebook, const std::string& where);

}  // namespace tessera
