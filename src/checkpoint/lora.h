/// Low-rank updates of a model's weights: W + weight * alpha / rank * B A. Hu et al., LoRA, arXiv:2106.09685, section
/// 4.1; alpha and the names of files as peft, diffusers and kohya's scripts have them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "checkpoint/bundle.h"

namespace tessera {

inline constexpr double kMostLoraWeight = 10;  // and as much the other way

/// A file and how much of it.
struct LoraChoice {
  std::filesystem::path file;  // .safetensors or torch.save, or a folder of peft's
  double weight = 1;           // 0: nothing; 1: as trained
};

/// FILE, or FILE:WEIGHT (a path may hold colons; what follows the last one counts as a weight where it is a number).
/// Throws UsageError where the weight is out of -10 to 10.
LoraChoice parse_lora(const std::string& text);

/// One layer's update.
struct LoraLayer {
  std::string part;  // "transformer" or "text_encoder"
  std::string name;  // of the weight in that part
  std::int64_t rank = 0;
  double scale = 1;        // alpha / rank; of peft's rank-stabilised ones alpha / sqrt(rank)
  torch::Tensor down, up;  // A [rank, in], B [out, rank], float32
};

/// Reads a file and finds the weights that it is for. Names: lora_A and lora_B, lora_down and lora_up, lora.down and
/// lora.up, under prefixes such as base_model.model., unet., transformer., with dots or underscores; no alpha: the
/// rank. Throws one Error that names every tensor that cannot be applied, with the reason (another kind of adapter, no
/// such layer, another shape), or the model that the file is for.
std::vector<LoraLayer> read_lora(const std::filesystem::path& file, const Bundle& bundle);

/// Adds the updates to the bundle's weights; others are left as they are, mapped files included. A weight of two bytes
/// becomes float32. Out: the layers that were changed.
std::int64_t apply_lora(Bundle& bundle, const LoraChoice& choice);

}  // namespace tessera
