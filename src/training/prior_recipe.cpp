#include "training/prior_recipe.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "checkpoint/bundle.h"
#include "denoiser/networks.h"
#include "denoiser/transformer.h"
#include "diffusion/absorbing.h"
#include "diffusion/time_sampler.h"
#include "prior/prior.h"
#include "runtime/error.h"
#include "training/codec_trainer.h"
#include "training/prior_networks.h"

namespace tessera {
namespace {

void expect_one_of(const char* field, const std::string& value, const std::vector<std::string>& choices) {
  require(std::find(choices.begin(), choices.end(), value) != choices.end(), "recipe: {} '{}': expected one of {}",
          field, value, fmt::join(choices, ", "));
}

}  // namespace

Fields PriorRecipe::fields() {
  return {
      {"prior", fmt::format("{}", fmt::join(trained_priors().names(), ", ")), &prior},
      {"process", fmt::format("{}", fmt::join(processes().names(), ", ")), &process},
      {"condition", "none, text (captions) or class (labels)", &condition},
      {"layers", "transformer blocks", &layers},
      {"heads", "attention heads", &heads},
      {"width", "of the transformer, a multiple of heads", &width},
      {"dropout", "in [0, 1); 0 disables", &dropout},
      {"attention_block",
       "layers take turns in seeing blocks of so many cells a side with what surrounds them, and the same place of "
       "every "
       "block: for grids of 32x32 cells and more; 0: every cell sees every other",
       &attention_block},
      {"initialisation", "framework (uniform by fan-in) or small_normal (normal 0.02)", &initialisation},
      {"start_from", "bundle folder whose prior's weights to start from; empty: as initialisation says", &start_from},
      {"total_steps",
       "T of the process; 0: the number of cells, 100 where the network sees the time, 3 with a network for each step",
       &total_steps},
      {"chain_schedule",
       "of imagebart: geometric (step t redraws a cell with probability 1 / (T - t + 1)), alphacum:1,a_1,..,a_T (the "
       "probabilities to be kept by each step), or one probability for every step",
       &chain_schedule},
      {"frequencies", "of code-frequencies: codes (how often each is), cells (in each cell) or none (all alike)",
       &frequencies},
      {"loss", "reweighted_elbo, elbo or mlm", &loss},
      {"mask_schedule", "random or fixed", &mask_schedule},
      {"time_sampling", "uniform or importance", &time_sampling},
      {"steps", "updates in all; 0 chooses from the number of grids", &steps},
      {"batch_size", "grids an update", &batch_size},
      sharing.shards_field(),
      sharing.gradient_type_field(),
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
      {"null_rate", "part of the pictures trained without their condition, for guidance", &null_rate},
      {"keyword_rate",
       "part of the pictures told a random choice of their keywords (metadata: a list, or words with commas) instead "
       "of a caption, so that short prompts are understood",
       &keyword_rate},
      {"auxiliary_weight", "of the cross-entropy of x_0; 0 disables", &auxiliary_weight},
      {"whole_mask_rate",
       "part of the grids trained wholly masked, where the condition is all there is to go by; 0: as the times are "
       "drawn",
       &whole_mask_rate},
      {"whole_mask_steps",
       "steps at the beginning in which every grid is wholly masked and told all of its condition, so that this is "
       "learned before the cells' neighbours say most of it; 0: none",
       &whole_mask_steps},
      {"text_width", "of the text encoder that is trained along", &text_width},
      {"text_layers", "of the text encoder", &text_layers},
      {"text_length", "tokens of a caption that are read", &text_length},
      {"text_merges", "byte pairs that the tokenizer learns from the captions", &text_merges},
      {"seed", "of weights, batches, times and masks", &seed},
      {"precision", "auto, float32 or bfloat16 (products; weights stay float32)", &precision},
      {"encode_precision",
       "auto, float32 or bfloat16, of the codec that makes tokens of the pictures; bfloat16 chooses another code in a "
       "cell or two of a hundred, on AMX in a tenth of the time",
       &encode_precision},
  };
}

void PriorRecipe::validate() const {
  expect_one_of("prior", prior, trained_priors().names());
  expect_one_of("process", process, processes().names());
  expect_one_of("condition", condition, {"none", "text", "class"});
  const auto& takes = trained_priors().at(prior).conditions;
  require(std::find(takes.begin(), takes.end(), condition) != takes.end(),
          "recipe: condition '{}': the {} prior takes one of {}", condition, prior, fmt::join(takes, ", "));
  expect_one_of("frequencies", frequencies, {"codes", "cells", "none"});
  expect_one_of("initialisation", initialisation, {"framework", "small_normal"});
  expect_one_of("sampling", sampling, {"epochs", "replacement"});
  expect_one_of("keep", keep, {"distance", "latest"});
  (void)loss_kind_from(loss);
  (void)mask_schedule_from(mask_schedule);
  (void)time_sampling_from(time_sampling);
  (void)training_precision(precision);
  (void)training_precision(encode_precision);
  require(attention_block >= 0, "recipe: attention_block {}, expected 0 or more cells", attention_block);
  require(batch_size >= 1, "recipe: batch_size {}, expected 1 or more", batch_size);
  sharing.validate(batch_size);
  require(learning_rate > 0, "recipe: learning_rate {}, expected a positive number", learning_rate);
  require(warmup >= -1, "recipe: warmup {}, expected 0 or more steps, or -1", warmup);
  require(ema_decay >= 0 && ema_decay < 1, "recipe: ema_decay {}, expected 0 up to below 1", ema_decay);
  require(beta2 > 0 && beta2 < 1, "recipe: beta2 {}, expected a number between 0 and 1", beta2);
  require(validation_grids >= 1, "recipe: validation_grids {}, expected 1 or more", validation_grids);
  require(validation_terms >= 0, "recipe: validation_terms {}, expected 0 or more", validation_terms);
  require(null_rate >= 0 && null_rate < 1, "recipe: null_rate {}, expected 0 up to below 1", null_rate);
  require(keyword_rate >= 0 && keyword_rate <= 1, "recipe: keyword_rate {}, expected 0 to 1", keyword_rate);
  require(whole_mask_rate >= 0 && whole_mask_rate <= 1, "recipe: whole_mask_rate {}, expected 0 to 1", whole_mask_rate);
  require(whole_mask_steps >= 0, "recipe: whole_mask_steps {}, expected 0 or more", whole_mask_steps);
  require(auxiliary_weight >= 0, "recipe: auxiliary_weight {}, expected 0 or more", auxiliary_weight);
  require(text_merges >= 0 && text_merges <= 50000, "recipe: text_merges {}, expected 0 to 50000", text_merges);
  require(text_length >= 3 && text_length <= 1024, "recipe: text_length {}, expected 3 to 1024", text_length);
  require(steps >= 1, "recipe: steps {}, expected 1 or more", steps);
  require(total_steps >= 1, "recipe: total_steps {}, expected 1 or more", total_steps);
}

bool PriorRecipe::is_autoregressive() const {
  return trained_priors().at(prior).in_order;
}

bool PriorRecipe::sees_time() const {
  return network_sees_time ? *network_sees_time : trained_priors().at(prior).sees_time(*this);
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
  const auto& kind = trained_priors().at(recipe.prior);
  if (recipe.total_steps == 0)
    recipe.total_steps = recipe.sees_time() ? kind.total_steps : data.train.size(1) * data.train.size(2);
  if (kind.counts) recipe.steps = 1;
  if (recipe.steps == 0)
    recipe.steps =
        std::clamp<std::int64_t>(100 * data.train.size(0) / std::max<std::int64_t>(recipe.batch_size, 1), 2000, 200000);
  recipe.warmup = warmup_of(recipe.warmup, recipe.steps);
}

void inherit_architecture(PriorRecipe& recipe) {
  if (recipe.start_from.empty()) return;
  inherit_architecture(recipe, load_bundle(recipe.start_from), recipe.start_from);
}

void inherit_architecture(PriorRecipe& recipe, const Bundle& bundle, const std::string& name) {
  require(bundle.denoiser.has_value(), "start_from: {}: the bundle holds no prior (transformer/)", name);
  const auto given = prior_facts(bundle.denoiser->config, bundle.scheduler.value_or(nlohmann::json()), name);
  const auto& network = network_of(bundle.denoiser->config, name);
  const auto* named = trained_priors().find(network.name);  // else several priors have its network
  if (named) recipe.prior = named->name;
  const auto& kind = trained_priors().at(recipe.prior);
  const auto take = [&](const char* field, std::int64_t& own, std::int64_t value) {
    if (std::find(kind.unused.begin(), kind.unused.end(), field) == kind.unused.end()) own = value;
  };
  take("layers", recipe.layers, given.network.layers);
  take("heads", recipe.heads, given.network.heads);
  take("width", recipe.width, given.network.width);
  if (network.name == "joint") recipe.text_length = given.network.words;
  if (network.name == "transformer")
    recipe.attention_block = TransformerOptions::from_config(bundle.denoiser->config).attention_block;
  recipe.condition = given.condition();
  if (named) {
    if (!given.network.sees_time()) return;
    recipe.total_steps = given.total_steps;
    const auto kept = bundle.scheduler.value_or(nlohmann::json())
                          .value(nlohmann::json::json_pointer("/tessera/kept"), std::vector<double>());
    if (!kept.empty()) recipe.chain_schedule = fmt::format("alphacum:{}", fmt::join(kept, ","));
    return;
  }
  if (given.network.sees_time()) {
    recipe.total_steps = given.total_steps;
    recipe.process = given.process;
  } else {
    recipe.prior = given.process;
  }
  if (!bundle.text_encoder) return;
  const auto text = ClipTextOptions::from_config(bundle.text_encoder->config);
  recipe.text_width = text.width;
  recipe.text_layers = text.layers;
  recipe.text_length = text.length;
}

}  // namespace tessera
