/// The process that a bundle's scheduler/ describes.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "diffusion/process.h"

namespace tessera {

struct NamedProcess {
  std::string name;  // one of process_names()
  std::shared_ptr<const Process> process;
};

/// absorbing, gaussian, mask-and-replace, nearest-embedding, uniform
std::vector<std::string> process_names();

/// In: scheduler/config.json (`tessera.process`, or the hub's VQDiffusionScheduler), the codes and time steps that the
/// denoiser has, and the codebook [K, D] (nearest-embedding). Throws Error where they do not fit; an unknown process
/// lists the choices.
NamedProcess make_process(const nlohmann::json& config, std::int64_t codes, std::int64_t total_steps,
                          const torch::Tensor& codebook, const std::string& where);

}  // namespace tessera
