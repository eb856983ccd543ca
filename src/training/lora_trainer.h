/// Trains a small update (LoRA) of the prior of a model and writes it as a file of its own, which every verb applies
/// (checkpoint/lora.h).
#pragma once

#include <filesystem>
#include <memory>

#include "denoiser/networks.h"
#include "training/lora_recipe.h"
#include "training/prior_data.h"
#include "training/training_loop.h"

namespace tessera {

/// The task for run_training. In: data through the model's codec; file, what is written: diffusers' names, float32, an
/// alpha where it is not the rank. Throws Error where the model or what it is told does not fit the data.
std::unique_ptr<TrainingTask> make_lora_training(const LoraRecipe& recipe, const Bundle& model,
                                                 const std::filesystem::path& model_folder, const TokenData& data,
                                                 const std::filesystem::path& file);

/// What every picture is told, as the recipe says: one caption or class for all, or their own.
void tell_pictures(const LoraRecipe& recipe, const PriorRecipe& prior, const NetworkFacts& network, TokenData& data);

}  // namespace tessera
