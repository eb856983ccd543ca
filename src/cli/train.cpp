/// tessera train codec | train prior | train pixels | train lora
#include "cli/data_flags.h"
#include "cli/field_options.h"
#include "cli/model_flags.h"
#include "cli/rank_flags.h"
#include "cli/result_line.h"
#include "cli/verbs.h"
#include "runtime/threads.h"
#include "training/part_training.h"
#include "training/recipe.h"

namespace tessera::cli {
namespace {

struct TrainOptions {
  PartTraining part;
  RankFlags ranks;
  std::string recipe;
  int threads = 0;
  bool json = false;
};

void say_made(const TrainOptions& options, const TrainedPart& made) {
  print_result(options.json, {{"output", made.folder.string()}, {"data", options.part.data}, {"steps", made.steps}},
               made.folder.string());
}

/// `train` on all ranks; the first one says what was made.
void train_on_ranks(TrainOptions& options, const std::function<TrainedPart()>& train) {
  run_on_ranks(options.ranks, options.threads, [&](std::shared_ptr<Ranks> ranks) {
    options.part.loop.ranks = ranks;
    const auto made = train();
    if (ranks->is_first()) say_made(options, made);
  });
}

void add_common(CLI::App& verb, TrainOptions& options) {
  verb.add_option("--data", options.part.data,
                  "folder, zip, tar shards (a folder, or shard-{000..127}.tar) or .tessera-pack")
      ->required();
  verb.add_option("--recipe", options.recipe, "TOML file; flags typed here go before it");
  verb.add_option("--log-every", options.part.loop.log_every, "steps between records of the losses")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  verb.add_option(
          "--validate-every", options.part.loop.validate_every,
          "steps between validations and previews; 0 only at the end; -1 by time: after 40 s, then each time as "
          "long again as has passed, 1 to 10 minutes")
      ->capture_default_str();
  verb.add_option("--save-every", options.part.loop.save_every,
                  "steps between saved states; 0 only at the end; -1 every two minutes")
      ->capture_default_str();
  verb.add_option("--patience", options.part.loop.patience,
                  "validations without a gain on held-out pictures after which the run ends; 0 never")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  verb.add_flag("--json", options.json, kJsonHelp);
  verb.add_flag("--resume", options.part.loop.resume, "go on from the saved state");
  verb.add_flag("--strict", options.part.strict,
                "a file that is neither picture nor companion, or broken, is an error");
  add_choice_flags(verb, options.part.choice, "Data");
  verb.add_option("--device", options.part.device, kDeviceHelp)->capture_default_str();
  verb.add_option("-t,--threads", options.threads, "threads of each process; 0: one a processor")
      ->capture_default_str();
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
  add_rank_flags(*codec, options->ranks);
  codec->add_option("-o,--out", options->part.bundle, "bundle folder to write")->required();
  const auto apply = add_field_options(*codec, recipe->fields());
  codec->callback([options, recipe, apply] {
    choose(*recipe, options->recipe, "codec", apply);
    train_on_ranks(*options, [&] { return train_codec(options->part, *recipe); });
  });

  auto* prior = train->add_subcommand("prior", "stage 2: which token grids are plausible");
  auto prior_options = std::make_shared<TrainOptions>();
  auto prior_recipe = std::make_shared<PriorRecipe>();
  add_common(*prior, *prior_options);
  add_rank_flags(*prior, prior_options->ranks);
  prior->add_option("-m,--model", prior_options->part.bundle, "bundle folder with the codec; gets the prior")
      ->required();
  const auto apply_prior = add_field_options(*prior, prior_recipe->fields());
  prior->callback([prior_options, prior_recipe, apply_prior] {
    choose(*prior_recipe, prior_options->recipe, "prior", apply_prior);
    train_on_ranks(*prior_options, [&] { return train_prior(prior_options->part, *prior_recipe); });
  });

  auto* pixels = train->add_subcommand("pixels", "after stage 1: a Gaussian head for the likelihood of pixels");
  auto pixel_options = std::make_shared<TrainOptions>();
  auto pixel_recipe = std::make_shared<PixelRecipe>();
  auto model = std::make_shared<std::string>();
  add_common(*pixels, *pixel_options);
  add_rank_flags(*pixels, pixel_options->ranks);
  pixels->add_option("-m,--model", *model, "bundle folder whose codec gets the head")->required();
  pixels->add_option("-o,--out", pixel_options->part.bundle, "bundle folder to write; empty: the same");
  const auto apply_pixels = add_field_options(*pixels, pixel_recipe->fields());
  pixels->callback([pixel_options, pixel_recipe, model, apply_pixels] {
    if (!pixel_options->recipe.empty()) read_recipe(pixel_options->recipe, "pixels", pixel_recipe->fields());
    apply_pixels();
    train_on_ranks(*pixel_options, [&] { return train_pixels(pixel_options->part, *pixel_recipe, *model); });
  });

  auto* lora = train->add_subcommand("lora", "a small update of a model's prior, from a picture or many");
  auto lora_options = std::make_shared<TrainOptions>();
  auto lora_recipe = std::make_shared<LoraRecipe>();
  auto lora_model = std::make_shared<std::string>();
  add_common(*lora, *lora_options);
  lora->add_option("-m,--model", *lora_model, "bundle folder that the update is for")->required();
  lora->add_option("-o,--output", lora_options->part.bundle, "file to write (.safetensors)")->required();
  const auto apply_lora_fields = add_field_options(*lora, lora_recipe->fields());
  lora->callback([lora_options, lora_recipe, lora_model, apply_lora_fields] {
    if (!lora_options->recipe.empty()) read_recipe(lora_options->recipe, "lora", lora_recipe->fields());
    apply_lora_fields();
    set_threads(lora_options->threads);
    say_made(*lora_options, train_lora(lora_options->part, *lora_recipe, *lora_model));
  });
}

}  // namespace tessera::cli
