/// The tensors of a checkpoint file, wherever in it they lie: under the names that training programs wrap them in.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"

namespace tessera {

struct StateDict {
  TensorMap tensors;
  std::vector<std::string> assumptions;  // which of several was taken, one sentence each
};

/// Reads a .safetensors or a file of torch.save. Of a dict without tensors of its own the averaged weights are taken
/// (ema_state_dict, model_ema ...), else state_dict, model_state_dict, model ...; "module." before every name is cut
/// off. Throws Error that lists what the file holds where there are no tensors.
StateDict load_state_dict(const std::filesystem::path& path);

/// The names' first components and how many tensors each has: "first_stage_model. (157), loss. (6)".
std::string prefixes_text(const TensorMap& tensors);

/// The weights of a hub folder called `stems` (the first is for safetensors, the last for .bin): whole, in shards with
/// an index, or as a variant (.fp16, .bf16), full precision first. Throws Error where there are none.
TensorMap load_hub_weights(const std::filesystem::path& folder,
                           const std::vector<std::string>& stems = {"diffusion_pytorch_model"});

}  // namespace tessera
