/// Which tensors a part of a bundle has, by its config: names and shapes, without building a network. And the two-way
/// check of a file's tensors against such a list.
#pragma once

#include <torch/torch.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"

namespace tessera {

using Shape = std::vector<std::int64_t>;
using ShapeMap = std::map<std::string, Shape>;

/// "[32, 3, 3, 3]"
std::string shape_text(const Shape& shape);
std::string shape_text(const torch::Tensor& tensor);

/// The tensors of a codec with this vqvae/config.json (hub's VQModel fields; under "tessera" what the hub has no name
/// for; a config without "tessera" is a plain hub VQModel). Throws Error naming the field that is missing or makes no
/// sense.
ShapeMap codec_parameter_shapes(const nlohmann::json& config);

/// Checks both ways. Throws one Error (beginning with `where`) that lists all missing, all unexpected and all tensors
/// of another shape, with shapes.
void match_parameters(const TensorMap& given, const ShapeMap& expected, const std::string& where);

}  // namespace tessera
