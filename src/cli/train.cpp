/// tessera train codec | train prior
#include <nlohmann/json.hpp>

#include "checkpoint/bundle.h"
#include "cli/field_options.h"
#include "cli/threads.h"
#include "cli/verbs.h"
#include "data/dataset.h"
#include "data/token_cache.h"
#include "image/contact_sheet.h"
#include "pipeline/pipeline.h"
#include "runtime/error.h"
#include "runtime/log.h"
#include "training/codec_trainer.h"
#include "training/prior_trainer.h"
#include "training/recipe.h"
#include "training/token_data.h"
#include "training/training_loop.h"

namespace tessera::cli {
namespace {

struct TrainOptions {
  std::string data, out, recipe;
  LoopOptions loop;
  int threads = 0;
  bool strict = false;
  std::string background = "#ffffff";
  double validation_fraction = 0.05;
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

/// Pictures through the bundle's codec, or a file of tokens.
TokenData prior_data(const TrainOptions& options, const PriorRecipe& recipe, Codec& codec) {
  if (options.data.ends_with(".safetensors")) {
    if (recipe.flip) throw UsageError("--flip: tokens cannot be mirrored, only pictures");
    return read_token_file(options.data);
  }
  PipelineOptions pipeline_options;
  const auto pipeline = Pipeline::load(options.out, pipeline_options);
  codec = pipeline.codec();
  DatasetOptions data_options;
  data_options.path = options.data;
  data_options.size = codec->options().image_size;
  data_options.background = options.background;
  data_options.validation_fraction = options.validation_fraction;
  data_options.split_seed = static_cast<Seed>(recipe.seed);
  data_options.strict = options.strict;
  const auto data = Dataset::open(data_options);
  return tokens_of(data, codec, part_hash(load_bundle(options.out), "vqvae"), recipe.flip, default_cache_folder());
}

void train_prior(const TrainOptions& options, PriorRecipe recipe) {
  set_threads(options.threads);
  Codec codec{nullptr};
  const auto data = prior_data(options, recipe, codec);
  choose_defaults(recipe, data);
  log().info("{}: {} token grids to train on, {} held out", options.data, data.train.size(0), data.validation.size(0));
  const std::filesystem::path bundle = options.out;
  GridPreview preview;
  if (codec) preview = [codec](const TokenGrid& grid) mutable { return contact_sheet(to_images(codec->decode(grid))); };
  auto task = make_prior_training(recipe, data, bundle, preview);
  auto loop = options.loop;
  loop.steps = recipe.steps;
  if (run_training(*task, loop, bundle / "training" / "prior")) fmt::print("{}\n", (bundle / "transformer").string());
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

  auto* prior = train->add_subcommand("prior", "stage 2: which token grids are plausible");
  auto prior_options = std::make_shared<TrainOptions>();
  auto prior_recipe = std::make_shared<PriorRecipe>();
  add_common(*prior, *prior_options);
  prior->add_option("-m,--model", prior_options->out, "bundle folder with the codec; gets the prior")->required();
  prior->add_option("--background", prior_options->background, "colour under transparent pixels, as for the codec")->capture_default_str();
  prior->add_option("--validation-fraction", prior_options->validation_fraction, "of the pictures held out, as for the codec")->capture_default_str();
  const auto apply_prior = add_field_options(*prior, prior_recipe->fields());
  prior->callback([prior_options, prior_recipe, apply_prior] {
    if (!prior_options->recipe.empty()) read_recipe(prior_options->recipe, "prior", prior_recipe->fields());
    apply_prior();
    train_prior(*prior_options, *prior_recipe);
  });
}

}  // namespace tessera::cli
