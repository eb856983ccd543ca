/// A small update of a model, of random numbers.
#pragma once

#include <torch/torch.h>

#include <filesystem>

#include "checkpoint/bundle.h"
#include "checkpoint/safetensors.h"
#include "runtime/error.h"

namespace tessera::testing {

/// Writes one of rank 2 for the attentions of a bundle's transformer.
inline void write_random_lora(const std::filesystem::path& model, const std::filesystem::path& file) {
  const auto bundle = load_bundle(model);
  torch::manual_seed(8);
  TensorMap tensors;
  for (const auto& [name, weight] : bundle.denoiser->tensors) {
    const auto at = name.rfind(".weight");
    if (weight.dim() != 2 || at == std::string::npos || name.find("attention") == std::string::npos) continue;
    tensors["transformer." + name.substr(0, at) + ".lora_A.weight"] = torch::randn({2, weight.size(1)});
    tensors["transformer." + name.substr(0, at) + ".lora_B.weight"] = torch::randn({weight.size(0), 2}) * 0.05;
  }
  require(!tensors.empty(), "{}: no attentions", model.string());
  save_safetensors(file, tensors);
}

}  // namespace tessera::testing
