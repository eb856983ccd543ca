/// tessera train codec | train prior
#include <nlohmann/json.hpp>

#include "cli/field_options.h"
#include "cli/threads.h"
#include "cli/verbs.h"
#include "data/dataset.h"
#include "runtime/error.h"
#include "runtime/log.h"
#include "training/codec_trainer.h"
#include "training/recipe.h"
#include "training/training_loop.h"

namespace tessera::cli {
namespace {

struct TrainOptions {
  std::string data, out, recipe;
  LoopOptions loop;
  int threads = 0;
  bool strict = false;
};

void add_common(CLI::App& verb, TrainOptions& options) {
  verb.add_option("--data", options.data, "folder, zip, tar shards or .tessera-pack")->required();
  verb.add_option("--recipe", options.recipe, "TOML file; flags typed here go before it");
  verb.add_option("--log-every", options.loop.log_every, "steps between records of the losses")->capture_default_str()->check(CLI::PositiveNumber);
  verb.add_option("--validate-every", options.loop.validate_every, "steps between validations and previews; 0 only at the end")->capture_default_str();
  verb.add_option("--save-every", options.loop.save_every, "steps between saved states; 0 only at the end")->capture_default_str();
  verb.add_flag("--resume", options.loop.resume, "go on from the saved state");
  verb.add_flag("--strict", options.strict, "a broken picture is an error");
  verb.add_option("-t,--threads", options.threads, "threads; 0: one a processor")->capture_default_str();
}

void train_codec(const TrainOptions& options, CodecRecipe recipe) {
  set_threads(options.threads);
  DatasetOptions data_options;
  data_options.path = options.data;
  data_options.background = recipe.background;
  data_options.validation_fraction = recipe.validation_fraction;
  data_options.split_seed = static_cast<Seed>(recipe.seed);
  data_options.strict = options.strict;
  choose_defaults(recipe, 64, 1);  // image_size must be known before the pictures are decoded
  data_options.size = recipe.image_size;
  const auto data = Dataset::open(data_options);
  choose_defaults(recipe, data.image_size(), static_cast<std::int64_t>(data.split(Split::train).size()));
  log().info("{}: {} pictures to train on, {} held out", options.data, data.split(Split::train).size(), data.split(Split::validation).size());
  const std::filesystem::path bundle = options.out;
  auto task = make_codec_training(recipe, data, bundle);
  auto loop = options.loop;
  loop.steps = recipe.steps;
  if (run_training(*task, loop, bundle / "training" / "codec")) fmt::print("{}\n", (bundle / "vqvae").string());
}

}  // namespace

void add_train(CLI::App& app) {
  auto* train = app.add_subcommand("train", "train a codec or a prior");
  train->require_subcommand(1);

  auto* codec = train->add_subcommand("codec", "stage 1: pictures to tokens and back");
  auto options = std::make_shared<TrainOptions>();
  auto recipe = std::make_shared<CodecRecipe>();
  add_common(*codec, *options);
  codec->add_option("-o,--out", options->out, "bundle folder to write")->required();
  const auto apply = add_field_options(*codec, recipe->fields());
  codec->callback([options, recipe, apply] {
    if (!options->recipe.empty()) read_recipe(options->recipe, "codec", recipe->fields());
    apply();
    train_codec(*options, *recipe);
  });
}

}  // namespace tessera::cli
