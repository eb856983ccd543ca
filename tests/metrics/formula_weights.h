/// Weights of the network fixtures, filled by the formula of their case.json (README-metric-networks.md).
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "checkpoint/safetensors.h"

namespace tessera::testing {

inline std::uint64_t mix64(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

inline std::uint64_t fnv1a64(const std::string& text) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return hash;
}

/// All tensors that description.weights.rows lists: name, shape, draw, offset, scale.
inline TensorMap formula_weights(const nlohmann::json& description) {
  const auto seed = std::stoull(description.at("generator").at("seed").get<std::string>(), nullptr, 16);
  TensorMap tensors;
  for (const auto& row : description.at("weights").at("rows")) {
    const auto name = row[0].get<std::string>();
    const auto tensor = torch::empty(row[1].get<std::vector<std::int64_t>>(), torch::kFloat32);
    const bool is_signed = row[2].get<std::string>() == "signed";
    const double offset = row[3].get<double>(), scale = row[4].get<double>();
    const auto key = mix64(seed ^ fnv1a64(name));
    float* values = tensor.data_ptr<float>();
    for (std::int64_t i = 0; i < tensor.numel(); ++i) {
      const auto n =
          static_cast<double>(mix64(key + (static_cast<std::uint64_t>(i) + 1) * 0x9e3779b97f4a7c15ULL) >> 40);
      const double t = is_signed ? (n - 8388608.0) / 8388608.0 : n / 16777216.0;
      values[i] = static_cast<float>(offset + scale * t);
    }
    tensors.emplace(name, tensor);
  }
  return tensors;
}

}  // namespace tessera::testing
