/// Table [lora] of a recipe; every field is also a flag of `tessera train lora`: a small update of a model's prior.
#pragma once

#include <cstdint>
#include <string>

#include "checkpoint/bundle.h"
#include "runtime/fields.h"
#include "training/lora_networks.h"
#include "training/prior_recipe.h"

namespace tessera {

struct LoraRecipe {
  std::int64_t rank = 8;
  double alpha = 0;
  std::string targets;
  bool text_encoder = false;
  std::string caption;
  std::int64_t label = -1;
  // Sohn et al., StyleDrop, arXiv:2306.00983, section 3.2, as diffusers' script for aMUSEd has them: 4e-4 and 1,500 to
  // 2,000 steps of 8 for one picture.
  std::int64_t steps = 1500;
  std::int64_t batch_size = 8;
  double learning_rate = 4e-4;
  std::int64_t warmup = -1;
  double final_learning_rate = 1;
  double weight_decay = 0;
  double clip_norm = 1;
  double null_rate = 0.1;
  double validation_fraction = 0;
  std::string background = "#ffffff";
  bool flip = false;
  bool upscale = true;
  std::int64_t seed = 0;
  std::string precision = "auto";

  Fields fields();
  /// Throws Error naming the field.
  void validate() const;
  LoraOptions options() const { return {rank, alpha, targets, text_encoder}; }

  /// The training of the prior in `model` that this one is, its weights aside. Throws Error where the bundle holds no
  /// prior; `where` begins it.
  PriorRecipe prior(const Bundle& model, const std::string& where) const;
};

}  // namespace tessera
