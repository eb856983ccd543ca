#include "training/training_plan.h"

#include <algorithm>
#include <chrono>

#include "checkpoint/bundle.h"
#include "denoiser/networks.h"
#include "runtime/error.h"
#include "runtime/progress.h"
#include "runtime/seconds_since.h"
#include "runtime/shipped_files.h"
#include "training/prior_fields.h"
#include "training/recipe.h"

namespace tessera {
namespace {

constexpr double kMinutes = 20, kAcceleratedMinutes = 10;
constexpr double kFilled = 0.9;     // share of the pictures that must fill a size
constexpr double kEnlarged = 0.75;  // a picture of this part of the size is enlarged without much harm
constexpr double kShortMinutes = 8, kLongMinutes = 90;  // for 128 pixels: with a codec that ships, without
constexpr double kForSteps = 0.85;  // share of the time that goes into steps: the rest looks, saves and encodes
constexpr double kCodecShare = 0.5, kStartedCodecShare = 0.35;
constexpr std::int64_t kFewPictures = 2000;
constexpr std::int64_t kCaptionsNeeded = 1000;  // below, words are learned by heart
constexpr double kAdversarialMinutes = 90;
constexpr std::int64_t kCellsASide = 16;  // what a prior copes with
constexpr const char* kGeneralLarge = "models/general128";
constexpr std::int64_t kLeastSteps = 50, kMostSteps = 1 << 20;

/// Width of each level, finest first, so that the grid is 16x16 cells where the size allows.
std::vector<std::int64_t> multipliers_for(std::int64_t size) {
  if (size >= 256) return {1, 1, 2, 2, 4};
  if (size >= 128) return {1, 2, 2, 4};
  return {1, 2, 4};
}

std::string percent(double share) {
  return fmt::format("{:.0f} %", 100 * share);
}

std::int64_t steps_in(double seconds, double each) {
  return std::clamp(static_cast<std::int64_t>(seconds / std::max(each, 1e-6)), kLeastSteps, kMostSteps);
}

void plan_condition(TrainingPlan& plan, const PictureSurvey& pictures) {
  auto& condition = plan.prior.condition;
  const auto count = static_cast<double>(std::max<std::int64_t>(pictures.pictures, 1));
  if (static_cast<double>(pictures.captioned) > kFilled * count && pictures.captioned >= kCaptionsNeeded) {
    condition = "text";
    plan.lines.emplace_back("condition", fmt::format("text: {} pictures have a caption", pictures.captioned));
  } else if (pictures.classes >= 2 && pictures.classes * 10 <= pictures.pictures &&
             pictures.labelled == pictures.pictures) {
    condition = "class";
    plan.lines.emplace_back("condition", fmt::format("class: the folders name {} classes", pictures.classes));
  } else if (pictures.captioned > 0) {
    plan.lines.emplace_back("condition",
                            fmt::format("none: {} of {} pictures have a caption, too few to learn words from "
                                        "(--condition text of train prior insists)",
                                        pictures.captioned, pictures.pictures));
  } else {
    plan.lines.emplace_back("condition", "none: the pictures have neither captions nor classes");
  }
  if (condition != "none") plan.prior.total_steps = 100;  // T as published for VQ-Diffusion
}

void plan_codec(TrainingPlan& plan, const PictureSurvey& pictures, const PlanOptions& options) {
  auto& codec = plan.codec;
  const auto start = options.start_from_nothing ? std::string()
                     : !options.start.empty()   ? options.start
                                                : shipped_start(options.size);
  codec.start_from = start;
  inherit_architecture(codec);
  codec.image_size = options.size;
  // A codec of smaller pictures sees several pixels as one position: as many cells, and about as much work.
  const auto smaller = codec.patch_size;
  while (!start.empty() && codec.patch_size < 8 && codec.codec_options().grid().h >= 2 * kCellsASide)
    codec.patch_size *= 2;
  codec.upscale = plan.prior.upscale = true;
  codec.seed = plan.prior.seed = options.seed;
  if (start.empty()) {
    codec.channel_multipliers = multipliers_for(options.size);
    codec.codebook_size = pictures.train >= 10 * kFewPictures ? 1024 : 512;
    codec.decoder_residual_blocks = 2;
  } else {
    codec.learning_rate = codec.patch_size == smaller ? 2e-4 : 4e-4;  // what touches the pixels is new
  }
  codec.flip = plan.prior.flip = pictures.photographs;
  codec.adversarial = plan.seconds >= 60 * kAdversarialMinutes || options.accelerated;
  const auto grid = codec.codec_options().grid();
  plan.lines.emplace_back(
      "codec",
      start.empty()
          ? fmt::format("from nothing, {}x{} cells of {} codes", grid.h, grid.w, codec.codebook_size)
          : fmt::format("goes on from {} ({}x{} cells of {} codes{}): {} pictures alone would take hours to teach "
                        "it edges and colours",
                        std::filesystem::path(start).filename().string(), grid.h, grid.w, codec.codebook_size,
                        codec.patch_size == smaller ? "" : fmt::format(", {0}x{0} pixels a position", codec.patch_size),
                        pictures.train));
  plan.lines.emplace_back("sharpness",
                          codec.adversarial
                              ? "a discriminator joins half-way"
                              : fmt::format("no discriminator: it needs {:.0f} minutes or a GPU", kAdversarialMinutes));
}

void plan_prior(TrainingPlan& plan, const PictureSurvey& pictures, const PlanOptions& options) {
  auto& prior = plan.prior;
  // Looked at often rather than closely: what is kept is chosen among the states that were looked at.
  if (!prior.sees_time()) prior.validation_terms = 8;
  prior.validation_grids = 64;
  if (options.accelerated) {
    prior.layers = 12;
    prior.heads = 8;
    prior.width = 512;
    prior.batch_size = 64;
    prior.learning_rate = 5e-4;
  }
  prior.dropout = pictures.train < kFewPictures ? 0.1 : 0;
  std::string why = fmt::format("{} layers of width {}", prior.layers, prior.width);
  why += pictures.photographs
             ? fmt::format(", mirrored pictures too (photographs: {} of neighbouring pixels are of one colour)",
                           percent(pictures.flat_share))
             : fmt::format(", not mirrored (drawings: {} of neighbouring pixels are of one colour)",
                           percent(pictures.flat_share));
  if (prior.dropout > 0) why += fmt::format(", dropout {:g}: {} pictures are few", prior.dropout, pictures.train);
  // A prior of the same kind and size may be taken along; its words or classes are others' and are not.
  if (!plan.codec.start_from.empty() && plan.prior.condition == "none" && !options.accelerated) {
    const auto bundle = load_bundle(plan.codec.start_from);
    if (bundle.denoiser && !network_facts(bundle.denoiser->config, plan.codec.start_from).sees_time()) {
      prior.start_from = plan.codec.start_from;
      inherit_architecture(prior);
      why += ", goes on from the same model's prior";
    }
  }
  plan.lines.emplace_back("prior", why);
}

}  // namespace

std::pair<std::int64_t, std::string> choose_size(const FileSurvey& files, const PlanOptions& options) {
  if (options.size > 0) return {options.size, "as asked for"};
  const double minutes = options.minutes > 0 ? options.minutes : options.accelerated ? kAcceleratedMinutes : kMinutes;
  // A codec of 128 pixels learns in minutes where it goes on from one that ships, else in hours.
  const double needed = !find_shipped(kGeneralLarge) || options.start_from_nothing ? kLongMinutes : kShortMinutes;
  const std::int64_t bound = options.accelerated ? 256 : minutes < needed ? 64 : 128;
  std::int64_t size = 32;
  while (size < bound && files.share_of(static_cast<int>(static_cast<double>(2 * size) * kEnlarged)) >= kFilled)
    size *= 2;
  const auto fill = fmt::format("{} of the pictures are that large", percent(files.share_of(static_cast<int>(size))));
  if (size < bound) return {size, fill + ", fewer are larger"};
  if (options.accelerated) return {size, fill};
  return {size, bound == 64 ? fmt::format("{}; 128 needs {:.0f} minutes or more here (--minutes, --size)", fill, needed)
                            : fill + "; more needs a GPU"};
}

double share_held_out(std::int64_t pictures) {
  constexpr double kEnough = 32;
  return std::clamp(kEnough / static_cast<double>(std::max<std::int64_t>(pictures, 1)), 0.05, 0.2);
}

std::string shipped_start(std::int64_t size) {
  for (const char* name : {size >= 128 ? kGeneralLarge : "models/general64", "models/general64", "models/emoji64"}) {
    if (const auto found = find_shipped(name)) return found->string();
  }
  return {};
}

TrainingPlan plan_training(const FileSurvey& files, const PictureSurvey& pictures, const PlanOptions& options) {
  require(pictures.train >= 2, "{} pictures to train on, expected at least 2", pictures.train);
  TrainingPlan plan;
  plan.seconds = 60 * (options.minutes > 0 ? options.minutes : options.accelerated ? kAcceleratedMinutes : kMinutes);
  auto what = fmt::format("{} {}", pictures.pictures, pictures.photographs ? "photographs" : "drawings or graphics");
  if (!files.sides.empty())
    what += files.sides.front() == files.sides.back()
                ? fmt::format(", shorter side {} pixels", files.sides.front())
                : fmt::format(", shorter sides {} to {} pixels", files.sides.front(), files.sides.back());
  if (pictures.duplicates > 0) what += fmt::format(", {} of them twice", pictures.duplicates);
  what += pictures.skipped > 0 ? fmt::format("; {} skipped (tessera dataset info says why)", pictures.skipped)
                               : std::string("; none skipped");
  plan.lines.emplace_back("pictures", what);
  plan.lines.emplace_back("held out", pictures.held_out > 0
                                          ? fmt::format("{} pictures, to judge by", pictures.held_out)
                                          : std::string("none: there are too few; nothing can be judged"));
  plan_condition(plan, pictures);
  plan_codec(plan, pictures, options);
  plan_prior(plan, pictures, options);
  return plan;
}

void fit_steps(TrainingPlan& plan, double seconds_a_codec_step, double seconds_a_prior_step) {
  const double share = plan.codec.start_from.empty() ? kCodecShare : kStartedCodecShare;
  plan.codec_seconds = plan.trains_codec ? share * plan.seconds : 0;
  plan.codec.steps = steps_in(kForSteps * plan.codec_seconds, seconds_a_codec_step);
  plan.prior.steps = steps_in(kForSteps * (plan.seconds - plan.codec_seconds), seconds_a_prior_step);
  plan.lines.emplace_back(
      "time", fmt::format("{} in all: the codec {} ({} steps of {:.2f} s), the prior {} ({} steps of {:.2f} s)",
                          duration_text(plan.seconds), duration_text(plan.codec_seconds), plan.codec.steps,
                          seconds_a_codec_step, duration_text(plan.seconds - plan.codec_seconds), plan.prior.steps,
                          seconds_a_prior_step));
  plan.lines.emplace_back("stop",
                          "after this time: the steps are planned anew where the machine turns out faster or slower. "
                          "Earlier where nothing gains. Kept are the codec nearest to held-out pictures and the prior "
                          "whose samples lie nearest to the training pictures without repeating them");
}

double seconds_a_step(TrainingTask& task, std::int64_t steps) {
  constexpr std::int64_t kUnlikeTheRest = 3;
  std::vector<double> seconds;
  for (std::int64_t step = 0; step < steps; ++step) {
    const auto begin = std::chrono::steady_clock::now();
    (void)task.step(step);
    if (step >= kUnlikeTheRest) seconds.push_back(seconds_since(begin));
  }
  require(!seconds.empty(), "{} steps cannot be measured, expected more than {}", steps, kUnlikeTheRest);
  std::nth_element(seconds.begin(), seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2), seconds.end());
  return seconds[seconds.size() / 2];
}

std::string TrainingPlan::text() const {
  constexpr std::size_t kTopic = 11;
  std::string all;
  for (const auto& [topic, why] : lines) all += fmt::format("{:<{}}{}\n", topic, kTopic, why);
  return all;
}

std::string TrainingPlan::recipe(const std::string& data, const std::string& out) const {
  auto codec_copy = codec;
  auto prior_copy = prior;
  const auto prior_fields = used_fields(prior_copy);
  const auto comment = fmt::format(
      "What tessera train decided, and why. The same again:\n"
      "  tessera train codec --data {0} --recipe THIS_FILE --out {1}\n"
      "  tessera train prior --data {0} --recipe THIS_FILE --model {1}\n\n{2}",
      data, out, text());
  return recipe_text({{"codec", codec_copy.fields()}, {"prior", prior_fields}}, comment);
}

}  // namespace tessera
