/// Small transformers with random weights, for tests of what calls them.
#pragma once

#include <string>

#include "denoiser/transformer.h"
#include "sampling/registry.h"

namespace tessera::testing {

/// Two heads, 16 wide, in evaluation mode.
inline Transformer tiny_network(TransformerKind kind, std::int64_t codes, Extent grid, std::int64_t layers, Seed seed) {
  TransformerOptions options;
  options.kind = kind;
  options.codebook_size = codes;
  options.grid = grid;
  options.layers = layers;
  options.heads = 2;
  options.width = 16;
  Transformer network(options, Initialisation::framework, seed);
  network->eval();
  return network;
}

/// The kind of network that a sampler is for.
inline TransformerKind kind_for(const std::string& sampler) {
  return sampler == "autoregressive" ? TransformerKind::autoregressive : TransformerKind::bidirectional;
}

/// The samplers that these networks can be filled with: those of processes with MASK.
inline std::vector<std::string> samplers_with_mask() {
  auto names = suitable_samplers(false, true);
  for (auto& name : suitable_samplers(true, true)) names.push_back(std::move(name));
  return names;
}

}  // namespace tessera::testing
