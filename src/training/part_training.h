/// One part of a bundle trained on a data set: opens the data, makes what the part needs of them, and runs. What
/// `tessera train codec|prior|pixels` and the library share.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "data/catalogue_choice.h"
#include "training/codec_trainer.h"
#include "training/lora_recipe.h"
#include "training/pixel_trainer.h"
#include "training/prior_recipe.h"
#include "training/recipe.h"
#include "training/training_loop.h"

namespace tessera {

/// What no recipe holds.
struct PartTraining {
  std::string data;    // folder, zip, tar shards, .tessera-pack; of a prior also a file of tokens (.safetensors)
  std::string bundle;  // folder to write; of a prior the one that holds the codec
  std::string device = "cpu";
  CatalogueChoice choice;  // of the data
  bool strict = false;     // a broken file of the data is an Error
  LoopOptions loop;        // its `steps` are the recipe's, its `ranks` share all of the training
};

/// A recipe: its file (none: ""), what the user chose laid over it by `lay_over`, and under both what the bundle that
/// it starts from has. part: the table of the file.
template <typename Recipe>
void choose(Recipe& recipe, const std::string& file, const std::string& part, const std::function<void()>& lay_over) {
  const auto lay = [&] {
    if (!file.empty()) read_recipe(file, part, recipe.fields());
    lay_over();
  };
  lay();
  if (recipe.start_from.empty()) return;
  inherit_architecture(recipe);
  lay();
}

struct TrainedPart {
  std::filesystem::path folder;  // vqvae/ or transformer/ of the bundle
  std::int64_t steps = 0;        // updates that were asked for
};

/// Throws Error naming what is wrong in recipe or data before
/// anything is written, Interrupted where a signal or LoopOptions::after_step ended it (the state is saved).
TrainedPart train_codec(const PartTraining& training, CodecRecipe recipe);
TrainedPart train_prior(const PartTraining& training, PriorRecipe recipe);
/// model: the bundle whose codec gets the head; training.bundle empty: the same.
TrainedPart train_pixels(const PartTraining& training, const PixelRecipe& recipe, const std::string& model);

/// A small update of the prior in `model`, on pictures through its codec; training.bundle is the file to write
/// (.safetensors), the run's state lies beside it. `folder` of what comes back is that file.
TrainedPart train_lora(const PartTraining& training, const LoraRecipe& recipe, const std::string& model);

}  // namespace tessera
