/// The hub's VQModel under native names, which are its own of today: attention layers were renamed in 2023, and some
/// converted files keep the 1x1 convolutions.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "checkpoint/safetensors.h"

namespace tessera {

/// In: the tensors of a VQModel and its config.json. Throws Error where the config is of another network or the tensors
/// do not fit it.
TensorMap hub_codec_tensors(const TensorMap& file, const nlohmann::json& config, const std::string& where);

}  // namespace tessera
