#include <algorithm>

#include "diffusion/absorbing.h"
#include "diffusion/time_sampler.h"
#include "runtime/error.h"
#include "training/codec_trainer.h"
#include "training/prior_trainer.h"

namespace tessera {
namespace {

constexpr std::int64_t kPreviewed = 16;  // grids

}  // namespace

Fields PriorRecipe::fields() {
  return {
      {"prior", "absorbing or autoregressive", &prior},
      {"layers", "transformer blocks", &layers},
      {"heads", "attention heads", &heads},
      {"width", "of the transformer, a multiple of heads", &width},
      {"dropout", "in [0, 1); 0 disables", &dropout},
      {"initialisation", "framework (uniform by fan-in) or small_normal (normal 0.02)", &initialisation},
      {"start_from", "bundle folder whose prior's weights to start from; empty: as initialisation says", &start_from},
      {"total_steps", "T of the absorbing process; 0: the number of cells", &total_steps},
      {"loss", "reweighted_elbo, elbo or mlm", &loss},
      {"mask_schedule", "random or fixed", &mask_schedule},
      {"time_sampling", "uniform or importance", &time_sampling},
      {"steps", "updates in all; 0 chooses from the number of grids", &steps},
      {"batch_size", "grids an update", &batch_size},
      {"learning_rate", "of Adam", &learning_rate},
      {"warmup", "steps of linear warm-up; -1: a thirtieth of the run, at most 500", &warmup},
      {"final_learning_rate", "fraction of the learning rate reached at the end by a cosine; 1: constant",
       &final_learning_rate},
      {"weight_decay", "decoupled; 0 disables", &weight_decay},
      {"beta2", "of Adam", &beta2},
      {"clip_norm", "largest gradient norm; 0 disables", &clip_norm},
      {"ema_decay", "of the averaged weights, which the bundle gets where they are the better ones; 0: none",
       &ema_decay},
      {"ema_warmup", "the average spans a tenth of the run so far until it has its full length", &ema_warmup},
      {"sampling", "epochs (permutations) or replacement (uniform draws)", &sampling},
      {"validation_fraction", "of the pictures held out, as for the codec", &validation_fraction},
      {"background", "colour under transparent pixels, as for the codec", &background},
      {"flip", "train on mirrored pictures too", &flip},
      {"upscale", "enlarge pictures smaller than the codec's (false: they are skipped)", &upscale},
      {"validation_grids", "held-out grids looked at", &validation_grids},
      {"validation_spread",
       "look at grids evenly spread over the data, which may be in order of class; false: at the first ones",
       &validation_spread},
      {"keep",
       "distance (of the states looked at the one whose samples lie nearest to the training pictures without "
       "repeating them) or latest",
       &keep},
      {"validation_terms", "time steps of the bound for each of them, stratified; 0: all T", &validation_terms},
      {"seed", "of weights, batches, times and masks", &seed},
      {"precision", "auto, float32 or bfloat16 (products; weights stay float32)", &precision},
  };
}

void PriorRecipe::validate() const {
  require(prior == "absorbing" || prior == "autoregressive",
          "recipe: prior '{}': expected one of absorbing, autoregressive", prior);
  require(initialisation == "framework" || initialisation == "small_normal",
          "recipe: initialisation '{}': expected one of framework, small_normal", initialisation);
  require(sampling == "epochs" || sampling == "replacement",
          "recipe: sampling '{}': expected one of epochs, replacement", sampling);
  require(keep == "distance" || keep == "latest", "recipe: keep '{}': expected one of distance, latest", keep);
  (void)loss_kind_from(loss);
  (void)mask_schedule_from(mask_schedule);
  (void)time_sampling_from(time_sampling);
  (void)training_precision(precision);
  require(steps >= 1, "recipe: steps {}, expected 1 or more", steps);
  require(total_steps >= 1, "recipe: total_steps {}, expected 1 or more", total_steps);
  require(batch_size >= 1, "recipe: batch_size {}, expected 1 or more", batch_size);
  require(learning_rate > 0, "recipe: learning_rate {}, expected a positive number", learning_rate);
  require(warmup >= -1, "recipe: warmup {}, expected 0 or more steps, or -1", warmup);
  require(ema_decay >= 0 && ema_decay < 1, "recipe: ema_decay {}, expected 0 up to below 1", ema_decay);
  require(beta2 > 0 && beta2 < 1, "recipe: beta2 {}, expected a number between 0 and 1", beta2);
  require(validation_grids >= 1, "recipe: validation_grids {}, expected 1 or more", validation_grids);
  require(validation_terms >= 0, "recipe: validation_terms {}, expected 0 or more", validation_terms);
}

AdamOptions PriorRecipe::adam() const {
  AdamOptions options;
  options.beta2 = beta2;
  options.weight_decay = weight_decay;
  options.clip_norm = clip_norm;
  options.ema_decay = ema_decay;
  options.ema_warmup = ema_warmup;
  return options;
}

torch::Tensor PriorRecipe::grids_to_measure(std::int64_t count) const {
  const auto looked_at = std::min(validation_grids, count);
  const auto first = torch::arange(looked_at, torch::kInt64);
  return validation_spread && looked_at > 0 ? (first * count).div(looked_at, "floor") : first;
}

void choose_defaults(PriorRecipe& recipe, const TokenData& data) {
  if (recipe.total_steps == 0) recipe.total_steps = data.train.size(1) * data.train.size(2);
  if (recipe.steps == 0)
    recipe.steps =
        std::clamp<std::int64_t>(100 * data.train.size(0) / std::max<std::int64_t>(recipe.batch_size, 1), 2000, 200000);
  recipe.warmup = warmup_of(recipe.warmup, recipe.steps);
}

std::int64_t SampleReview::count() const {
  return std::max(preview ? kPreviewed : 0, judge.judge ? judge.grids : 0);
}

std::optional<Judgement> SampleReview::operator()(std::int64_t step, const TokenGrid& samples,
                                                  Recorder& recorder) const {
  if (preview) preview(step, TokenGrid(samples.codes().slice(0, 0, kPreviewed), samples.codebook_size()), recorder);
  if (!judge.judge) return std::nullopt;
  return judge.judge(step, samples, recorder);
}

void WeightsCompared::add_to(Metrics& figures) const {
  figures["validation_bits_of_averaged_weights"] = averaged;
  figures["validation_bits_of_plain_weights"] = plain;
}

}  // namespace tessera
