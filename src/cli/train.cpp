/// tessera train codec | train prior | train pixels
#include <nlohmann/json.hpp>

#include "checkpoint/bundle.h"
#include "cli/data_flags.h"
#include "cli/field_options.h"
#include "cli/model_flags.h"
#include "cli/result_line.h"
#include "cli/threads.h"
#include "cli/verbs.h"
#include "data/dataset.h"
#include "data/pack_file.h"
#include "data/token_cache.h"
#include "kernels/device.h"
#include "pipeline/pipeline.h"
#include "runtime/error.h"
#include "runtime/folder_lock.h"
#include "runtime/log.h"
#include "runtime/stop_signal.h"
#include "training/codec_trainer.h"
#include "training/condition_data.h"
#include "training/pixel_trainer.h"
#include "training/prior_fields.h"
#include "training/prior_trainer.h"
#include "training/recipe.h"
#include "training/sample_judge.h"
#include "training/token_data.h"
#include "training/training_loop.h"

namespace tessera::cli {
namespace {

struct TrainOptions {
  std::string data, out, recipe, device = "cpu";
  LoopOptions loop;
  int threads = 0;
  bool strict = false, json = false;
  CatalogueChoice choice;
};

void say_made(const TrainOptions& options, const std::filesystem::path& part, std::int64_t steps) {
  print_result(options.json, {{"output", part.string()}, {"data", options.data}, {"steps", steps}}, part.string());
}

void add_common(CLI::App& verb, TrainOptions& options) {
  verb.add_option("--data", options.data,
                  "folder, zip, tar shards (a folder, or shard-{000..127}.tar) or .tessera-pack")
      ->required();
  verb.add_option("--recipe", options.recipe, "TOML file; flags typed here go before it");
  verb.add_option("--log-every", options.loop.log_every, "steps between records of the losses")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  verb.add_option(
          "--validate-every", options.loop.validate_every,
          "steps between validations and previews; 0 only at the end; -1 by time: after 40 s, then each time as "
          "long again as has passed, 1 to 10 minutes")
      ->capture_default_str();
  verb.add_option("--save-every", options.loop.save_every,
                  "steps between saved states; 0 only at the end; -1 every two minutes")
      ->capture_default_str();
  verb.add_option("--patience", options.loop.patience,
                  "validations without a gain on held-out pictures after which the run ends; 0 never")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  verb.add_flag("--json", options.json, kJsonHelp);
  verb.add_flag("--resume", options.loop.resume, "go on from the saved state");
  verb.add_flag("--strict", options.strict, "a file that is neither picture nor companion, or broken, is an error");
  add_choice_flags(verb, options.choice, "Data");
  verb.add_option("--device", options.device, kDeviceHelp)->capture_default_str();
  verb.add_option("-t,--threads", options.threads, "threads; 0: one a processor")->capture_default_str();
}

/// Throws Interrupted where a signal ended it before its last step.
void run_to_end(TrainingTask& task, const LoopOptions& loop, const std::filesystem::path& folder) {
  if (!run_training(task, loop, folder)) throw Interrupted("interrupted; the same command with --resume goes on");
}

/// What is wrong with a recipe is said before the data are read.
void check_early(CodecRecipe recipe) {
  choose_defaults(recipe, 64, 1);
  recipe.validate();
}

void check_early(PriorRecipe recipe) {
  recipe.steps = recipe.steps == 0 ? 1 : recipe.steps;
  recipe.total_steps = recipe.total_steps == 0 ? 1 : recipe.total_steps;
  recipe.validate();
}

void say_parts(const Dataset& data, const std::string& name) {
  const auto test = data.split(Split::test).size();
  log().info("{}: {} pictures to train on, {} held out{}; {} of {} have a caption", name,
             data.split(Split::train).size(), data.split(Split::validation).size(),
             test == 0 ? "" : fmt::format(", {} kept for the test", test), data.captioned(), data.size());
}

void train_codec(const TrainOptions& options, CodecRecipe recipe) {
  set_threads(options.threads);
  const auto device = device_from(options.device);
  check_early(recipe);
  const FolderLock lock(std::filesystem::path(options.out) / "training");
  DatasetOptions data_options;
  data_options.path = options.data;
  data_options.background = recipe.background;
  data_options.validation_fraction = recipe.validation_fraction;
  data_options.split_seed = static_cast<Seed>(recipe.seed);
  data_options.strict = options.strict;
  data_options.upscale = recipe.upscale;
  data_options.choice = options.choice;
  const bool as_packed = recipe.image_size == 0 && is_pack(options.data);
  if (!as_packed) choose_defaults(recipe, 64, 1);  // image_size must be known before the pictures are decoded
  data_options.size = recipe.image_size;
  const auto data = Dataset::open(data_options);
  recipe.image_size = data.image_size();
  choose_defaults(recipe, data.image_size(), static_cast<std::int64_t>(data.split(Split::train).size()));
  say_parts(data, options.data);
  const std::filesystem::path bundle = options.out;
  auto task = make_codec_training(recipe, data, bundle, device);
  auto loop = options.loop;
  loop.steps = recipe.steps;
  run_to_end(*task, loop, bundle / "training" / "codec");
  say_made(options, bundle / "vqvae", loop.steps);
}

/// A prior of other codes than its bundle's codec has could never be used: said now, not after the training.
void check_codes(const TokenData& tokens, const std::filesystem::path& folder, const std::string& data) {
  if (!std::filesystem::exists(folder / "model_index.json")) return;
  const auto bundle = load_bundle(folder);
  if (!bundle.codec) return;
  const auto codes = codec_options_from_json(bundle.codec->config).codebook_size;
  require(tokens.codebook_size == codes, "{}: tokens of {} codes, the codec in {} has {}", data, tokens.codebook_size,
          folder.string(), codes);
}

/// Pictures through the bundle's codec, or a file of tokens.
TokenData prior_data(const TrainOptions& options, const PriorRecipe& recipe, torch::Device device, Codec& codec) {
  if (options.data.ends_with(".safetensors")) {
    if (recipe.flip) throw UsageError("--flip: tokens cannot be mirrored, only pictures");
    if (recipe.condition != "none") throw UsageError("--condition: a file of tokens has none, only pictures");
    auto tokens = read_token_file(options.data);
    check_codes(tokens, options.out, options.data);
    return tokens;
  }
  const auto parts = load_bundle(options.out);
  require(parts.codec.has_value(), "{}: the bundle holds no codec (vqvae/)", options.out);
  codec = Codec(codec_options_from_json(parts.codec->config));
  codec->load(parts.codec->tensors, options.out + "/vqvae");
  codec->eval();
  codec->to(device);
  DatasetOptions data_options;
  data_options.path = options.data;
  data_options.size = codec->options().image_size;
  data_options.background = recipe.background;
  data_options.validation_fraction = recipe.validation_fraction;
  data_options.split_seed = static_cast<Seed>(recipe.seed);
  data_options.strict = options.strict;
  data_options.upscale = recipe.upscale;
  data_options.choice = options.choice;
  const auto data = Dataset::open(data_options);
  say_parts(data, options.data);
  const auto conditions = conditions_of(data, options.data, recipe);
  auto tokens = tokens_of(data, codec, name_of_codec(part_hash(parts, "vqvae"), "float32", device), recipe.flip,
                          default_cache_folder());
  tokens.conditions = conditions;
  tokens.codebook = codec->quantizer->codebook().to(torch::kCPU);
  return tokens;
}

void train_prior(const TrainOptions& options, PriorRecipe recipe) {
  set_threads(options.threads);
  const auto device = device_from(options.device);
  check_early(recipe);
  require_used_fields(recipe);
  // Before the lock makes the folder; a file of tokens needs no codec in it.
  require(options.data.ends_with(".safetensors") || std::filesystem::is_directory(options.out),
          "{}: no such model folder", options.out);
  const FolderLock lock(std::filesystem::path(options.out) / "training");
  Codec codec{nullptr};
  const auto data = prior_data(options, recipe, device, codec);
  choose_defaults(recipe, data);
  log().info("{}: {} token grids to train on, {} held out", options.data, data.train.size(0), data.validation.size(0));
  const std::filesystem::path bundle = options.out;
  SampleReview review;
  if (codec) review = make_sample_review(recipe, codec, data);
  auto task = make_prior_training(recipe, data, bundle, review, device);
  auto loop = options.loop;
  loop.steps = recipe.steps;
  run_to_end(*task, loop, bundle / "training" / "prior");
  say_made(options, bundle / "transformer", loop.steps);
}

void train_pixels(const TrainOptions& options, const PixelRecipe& recipe, const std::string& model) {
  set_threads(options.threads);
  const auto device = device_from(options.device);
  const auto part = load_bundle(model).codec;
  require(part.has_value(), "{}: the bundle holds no codec (vqvae/)", model);
  DatasetOptions data_options;
  data_options.path = options.data;
  data_options.size = codec_options_from_json(part->config).image_size;
  data_options.background = recipe.background;
  data_options.validation_fraction = recipe.validation_fraction;
  data_options.split_seed = static_cast<Seed>(recipe.seed);
  data_options.strict = options.strict;
  data_options.choice = options.choice;
  const auto data = Dataset::open(data_options);
  say_parts(data, options.data);
  const std::filesystem::path bundle = options.out.empty() ? model : options.out;
  const FolderLock lock(bundle / "training");
  auto task = make_pixel_training(recipe, data, model, bundle, device);
  auto loop = options.loop;
  loop.steps = recipe.steps;
  run_to_end(*task, loop, bundle / "training" / "pixels");
  say_made(options, bundle / "vqvae", loop.steps);
}

}  // namespace

void add_train(CLI::App& app) {
  auto* train = app.add_subcommand("train", "make a model of your own pictures");
  train->require_subcommand(0, 1);
  add_train_pictures(*train);

  auto* codec = train->add_subcommand("codec", "stage 1: pictures to tokens and back");
  auto options = std::make_shared<TrainOptions>();
  auto recipe = std::make_shared<CodecRecipe>();
  add_common(*codec, *options);
  codec->add_option("-o,--out", options->out, "bundle folder to write")->required();
  const auto apply = add_field_options(*codec, recipe->fields());
  codec->callback([options, recipe, apply] {
    const auto choose = [&] {
      if (!options->recipe.empty()) read_recipe(options->recipe, "codec", recipe->fields());
      apply();
    };
    choose();
    if (!recipe->start_from.empty()) {  // what the user chose goes before what the other bundle has
      inherit_architecture(*recipe);
      choose();
    }
    train_codec(*options, *recipe);
  });

  auto* prior = train->add_subcommand("prior", "stage 2: which token grids are plausible");
  auto prior_options = std::make_shared<TrainOptions>();
  auto prior_recipe = std::make_shared<PriorRecipe>();
  add_common(*prior, *prior_options);
  prior->add_option("-m,--model", prior_options->out, "bundle folder with the codec; gets the prior")->required();
  const auto apply_prior = add_field_options(*prior, prior_recipe->fields());
  prior->callback([prior_options, prior_recipe, apply_prior] {
    const auto choose = [&] {
      if (!prior_options->recipe.empty()) read_recipe(prior_options->recipe, "prior", prior_recipe->fields());
      apply_prior();
    };
    choose();
    if (!prior_recipe->start_from.empty()) {
      inherit_architecture(*prior_recipe);
      choose();
    }
    train_prior(*prior_options, *prior_recipe);
  });

  auto* pixels = train->add_subcommand("pixels", "after stage 1: a Gaussian head for the likelihood of pixels");
  auto pixel_options = std::make_shared<TrainOptions>();
  auto pixel_recipe = std::make_shared<PixelRecipe>();
  auto model = std::make_shared<std::string>();
  add_common(*pixels, *pixel_options);
  pixels->add_option("-m,--model", *model, "bundle folder whose codec gets the head")->required();
  pixels->add_option("-o,--out", pixel_options->out, "bundle folder to write; empty: the same");
  const auto apply_pixels = add_field_options(*pixels, pixel_recipe->fields());
  pixels->callback([pixel_options, pixel_recipe, model, apply_pixels] {
    if (!pixel_options->recipe.empty()) read_recipe(pixel_options->recipe, "pixels", pixel_recipe->fields());
    apply_pixels();
    train_pixels(*pixel_options, *pixel_recipe, *model);
  });
}

}  // namespace tessera::cli
