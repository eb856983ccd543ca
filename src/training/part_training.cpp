#include "training/part_training.h"

#include "checkpoint/bundle.h"
#include "data/dataset.h"
#include "data/pack_file.h"
#include "data/token_cache.h"
#include "denoiser/networks.h"
#include "kernels/ops/device.h"
#include "runtime/error.h"
#include "runtime/folder_lock.h"
#include "runtime/log.h"
#include "runtime/stop_signal.h"
#include "training/condition_data.h"
#include "training/lora_trainer.h"
#include "training/prior_fields.h"
#include "training/prior_trainer.h"
#include "training/sample_judge.h"
#include "training/token_data.h"

namespace tessera {
namespace {

/// In: size in pixels; 0: as packed.
template <typename Recipe>
DatasetOptions data_options(const PartTraining& training, const Recipe& recipe, std::int64_t size) {
  DatasetOptions options;
  options.path = training.data;
  options.size = size;
  options.background = recipe.background;
  options.validation_fraction = recipe.validation_fraction;
  options.split_seed = static_cast<Seed>(recipe.seed);
  options.strict = training.strict;
  if constexpr (requires { recipe.upscale; }) options.upscale = recipe.upscale;
  options.choice = training.choice;
  return options;
}

/// Throws Interrupted where a signal ended it before its last step.
void run_to_end(TrainingTask& task, const LoopOptions& loop, const std::filesystem::path& folder) {
  if (!run_training(task, loop, folder)) throw Interrupted("interrupted; the same command with --resume goes on");
}

const Ranks& ranks_of(const PartTraining& training) {
  static const Ranks alone;
  return training.loop.ranks ? *training.loop.ranks : alone;
}

/// Rank 0 alone writes.
std::unique_ptr<const FolderLock> lock_of(const PartTraining& training, const std::filesystem::path& folder) {
  return ranks_of(training).is_first() ? std::make_unique<const FolderLock>(folder) : nullptr;
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
TokenData prior_data(const PartTraining& training, const PriorRecipe& recipe, torch::Device device, Codec& codec) {
  if (training.data.ends_with(".safetensors")) {
    if (recipe.flip) throw UsageError("--flip: tokens cannot be mirrored, only pictures");
    if (recipe.condition != "none") throw UsageError("--condition: a file of tokens has none, only pictures");
    auto tokens = read_token_file(training.data);
    check_codes(tokens, training.bundle, training.data);
    return tokens;
  }
  const auto parts = load_bundle(training.bundle);
  require(parts.codec.has_value(), "{}: the bundle holds no codec (vqvae/)", training.bundle);
  codec = Codec(codec_options_from_json(parts.codec->config));
  codec->load(parts.codec->tensors, training.bundle + "/vqvae");
  codec->eval();
  codec->to(device);
  const auto data = Dataset::open(data_options(training, recipe, codec->options().image_size));
  say_parts(data, training.data);
  const auto conditions = conditions_of(data, training.data, recipe);
  const auto encoder = set_encode_precision(codec, part_hash(parts, "vqvae"), recipe.encode_precision);
  auto tokens = tokens_of(data, codec, encoder, recipe.flip, default_cache_folder(), ranks_of(training));
  tokens.conditions = conditions;
  tokens.codebook = codec->quantizer->codebook().to(torch::kCPU);
  return tokens;
}

}  // namespace

TrainedPart train_codec(const PartTraining& training, CodecRecipe recipe) {
  const auto device = device_from(training.device);
  check_early(recipe);
  const auto lock = lock_of(training, std::filesystem::path(training.bundle) / "training");
  const bool as_packed = recipe.image_size == 0 && is_pack(training.data);
  if (!as_packed) choose_defaults(recipe, 64, 1);  // image_size must be known before the pictures are decoded
  const auto data = Dataset::open(data_options(training, recipe, recipe.image_size));
  recipe.image_size = data.image_size();
  choose_defaults(recipe, data.image_size(), static_cast<std::int64_t>(data.split(Split::train).size()));
  say_parts(data, training.data);
  const std::filesystem::path bundle = training.bundle;
  auto task = make_codec_training(recipe, data, bundle, device, training.loop.ranks);
  auto loop = training.loop;
  loop.steps = recipe.steps;
  run_to_end(*task, loop, bundle / "training" / "codec");
  return {bundle / "vqvae", loop.steps};
}

TrainedPart train_prior(const PartTraining& training, PriorRecipe recipe) {
  const auto device = device_from(training.device);
  check_early(recipe);
  require_used_fields(recipe);
  // Before the lock makes the folder; a file of tokens needs no codec in it.
  require(training.data.ends_with(".safetensors") || std::filesystem::is_directory(training.bundle),
          "{}: no such model folder", training.bundle);
  const auto lock = lock_of(training, std::filesystem::path(training.bundle) / "training");
  Codec codec{nullptr};
  const auto data = prior_data(training, recipe, device, codec);
  choose_defaults(recipe, data);
  log().info("{}: {} token grids to train on, {} held out", training.data, data.train.size(0), data.validation.size(0));
  const std::filesystem::path bundle = training.bundle;
  SampleReview review;
  if (codec && ranks_of(training).is_first()) review = make_sample_review(recipe, codec, data);
  auto task = make_prior_training(recipe, data, bundle, review, device, training.loop.ranks);
  auto loop = training.loop;
  loop.steps = recipe.steps;
  run_to_end(*task, loop, bundle / "training" / "prior");
  return {bundle / "transformer", loop.steps};
}

TrainedPart train_pixels(const PartTraining& training, const PixelRecipe& recipe, const std::string& model) {
  const auto device = device_from(training.device);
  const auto part = load_bundle(model).codec;
  require(part.has_value(), "{}: the bundle holds no codec (vqvae/)", model);
  const auto size = codec_options_from_json(part->config).image_size;
  const auto data = Dataset::open(data_options(training, recipe, size));
  say_parts(data, training.data);
  const std::filesystem::path bundle = training.bundle.empty() ? model : training.bundle;
  const auto lock = lock_of(training, bundle / "training");
  auto task = make_pixel_training(recipe, data, model, bundle, device, training.loop.ranks);
  auto loop = training.loop;
  loop.steps = recipe.steps;
  run_to_end(*task, loop, bundle / "training" / "pixels");
  return {bundle / "vqvae", loop.steps};
}

TrainedPart train_lora(const PartTraining& training, const LoraRecipe& recipe, const std::string& model) {
  recipe.validate();
  const std::filesystem::path file = training.bundle;
  if (file.extension() != ".safetensors")
    throw UsageError(fmt::format("--output {}: expected a file that ends in .safetensors", file.string()));
  if (training.device != "cpu")
    throw UsageError(fmt::format("--device {}: a LoRA is trained on the CPU alone, expected cpu", training.device));
  const auto parts = load_bundle(model);
  require(parts.codec.has_value(), "{}: the bundle holds no codec (vqvae/)", model);
  const auto prior = recipe.prior(parts, model);
  auto read_for = prior;
  if (!recipe.caption.empty() || recipe.label >= 0) read_for.condition = "none";  // asks nothing of the pictures
  auto tokens_from = training;
  tokens_from.bundle = model;
  Codec codec{nullptr};
  auto data = prior_data(tokens_from, read_for, torch::kCPU, codec);
  tell_pictures(recipe, prior, network_facts(parts.denoiser->config, model + "/transformer"), data);
  log().info("{}: {} token grids to train on, {} held out", training.data, data.train.size(0), data.validation.size(0));
  const auto run = std::filesystem::path(file).replace_extension() += ".training";
  const FolderLock lock(run);
  auto task = make_lora_training(recipe, parts, model, data, file);
  auto loop = training.loop;
  loop.steps = recipe.steps;
  run_to_end(*task, loop, run);
  return {file, loop.steps};
}

}  // namespace tessera
