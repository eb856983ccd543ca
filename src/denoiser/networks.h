/// The networks that a prior may have, by their `_class_name` in transformer/config.json. To add one: its file, and a
/// line of the table in networks.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"
#include "denoiser/denoiser.h"
#include "kernels/ops/layers.h"
#include "kernels/ops/weight_loading.h"
#include "runtime/registry.h"
#include "tokens/token_grid.h"

namespace tessera {

/// What a network accepts and how large it is, as its configuration says.
struct NetworkFacts {
  std::int64_t codebook_size = 0;  // K
  Extent grid{0, 0};
  std::int64_t layers = 0, heads = 0, width = 0;
  std::int64_t total_steps = 0;               // T of the times it sees; 0: it sees none
  std::int64_t condition_width = 0;           // of the states of a text; 0: it takes no text
  std::int64_t words = 0, vocabulary = 0;     // of a caption that it reads as ids, not as states; 0: it reads states
  std::int64_t classes = 0;                   // 0: it takes no class
  bool autoregressive = false;                // it sees the cells before, in raster order
  std::vector<std::string> class_names = {};  // one for each class; empty: they have none (class_names.h)

  bool sees_time() const { return total_steps > 0; }
  /// "none", "text" or "class".
  std::string condition() const;
};

struct NetworkInput {
  const nlohmann::json& config;  // transformer/config.json
  const TensorMap& tensors;
  std::string where;  // begins an error
  WeightLoading loading = WeightLoading::copy;
  Precision precision = Precision::float32;
  torch::Device device = torch::kCPU;
  Condition none = {};  // of images that are given none; networks with text need its states
};

struct NetworkEntry {
  std::string name, help;  // one line
  std::string class_name;  // on disk
  /// Throws Error naming the field that is missing or wrong.
  NetworkFacts (*facts)(const nlohmann::json& config) = nullptr;
  /// In evaluation mode. Throws Error listing the tensors that do not fit.
  std::shared_ptr<Denoiser> (*load)(const NetworkInput& input) = nullptr;
};

Registry<NetworkEntry>& networks();

/// The network that transformer/config.json names. Throws Error listing the classes that are known.
const NetworkEntry& network_of(const nlohmann::json& config, const std::string& where);
/// network_of(config).facts(config).
NetworkFacts network_facts(const nlohmann::json& config, const std::string& where);

}  // namespace tessera
