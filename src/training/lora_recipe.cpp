#include "training/lora_recipe.h"

#include "prior/prior.h"
#include "runtime/error.h"
#include "training/codec_trainer.h"

namespace tessera {

Fields LoraRecipe::fields() {
  return {
      {"rank", "of the update of each layer", &rank},
      {"alpha", "the update counts alpha / rank; 0: the rank", &alpha},
      {"targets", "words with commas between them: layers whose names hold one of them; empty: every linear layer",
       &targets},
      {"text_encoder", "update the layers of a text encoder that was trained along, too", &text_encoder},
      {"caption", "what every picture is told in place of its own caption; of models that are told a text", &caption},
      {"label", "class of every picture, by the model's numbers; -1: the pictures' own, or none where they have none",
       &label},
      {"steps", "updates in all", &steps},
      {"batch_size", "grids an update", &batch_size},
      {"learning_rate", "of Adam", &learning_rate},
      {"warmup", "steps of linear warm-up; -1: a thirtieth of the run, at most 500", &warmup},
      {"final_learning_rate", "fraction of the learning rate reached at the end by a cosine; 1: constant",
       &final_learning_rate},
      {"weight_decay", "decoupled; 0 disables", &weight_decay},
      {"clip_norm", "largest gradient norm; 0 disables", &clip_norm},
      {"null_rate", "part of the pictures trained without their condition, for guidance", &null_rate},
      {"validation_fraction", "of the pictures held out", &validation_fraction},
      {"background", "colour under transparent pixels", &background},
      {"flip", "train on mirrored pictures too", &flip},
      {"upscale", "enlarge pictures smaller than the codec's (false: they are skipped)", &upscale},
      {"seed", "of weights, batches, times and masks", &seed},
      {"precision", "auto, float32 or bfloat16 (products; weights stay float32)", &precision},
  };
}

void LoraRecipe::validate() const {
  require(rank >= 1 && rank <= 1024, "recipe: rank {}, expected 1 to 1024", rank);
  require(alpha >= 0, "recipe: alpha {}, expected 0 or more", alpha);
  require(label >= -1, "recipe: label {}, expected a class, or -1", label);
  require(steps >= 1, "recipe: steps {}, expected 1 or more", steps);
  require(batch_size >= 1, "recipe: batch_size {}, expected 1 or more", batch_size);
  require(learning_rate > 0, "recipe: learning_rate {}, expected a positive number", learning_rate);
  require(warmup >= -1, "recipe: warmup {}, expected 0 or more steps, or -1", warmup);
  require(null_rate >= 0 && null_rate < 1, "recipe: null_rate {}, expected 0 up to below 1", null_rate);
  (void)training_precision(precision);
}

PriorRecipe LoraRecipe::prior(const Bundle& model, const std::string& where) const {
  require(model.denoiser.has_value(), "{}: the bundle holds no prior (transformer/)", where);
  PriorRecipe recipe;
  recipe.start_from = where;
  inherit_architecture(recipe, model, where);
  const auto facts = prior_facts(model.denoiser->config, model.scheduler.value_or(nlohmann::json()), where);
  recipe.network_sees_time = facts.network.sees_time();
  recipe.steps = steps;
  recipe.batch_size = batch_size;
  recipe.learning_rate = learning_rate;
  recipe.warmup = warmup_of(warmup, steps);
  recipe.final_learning_rate = final_learning_rate;
  recipe.weight_decay = weight_decay;
  recipe.clip_norm = clip_norm;
  recipe.ema_decay = 0;  // a short training of few numbers
  recipe.sampling = "replacement";
  recipe.keep = "latest";
  recipe.null_rate = null_rate;
  recipe.validation_fraction = validation_fraction;
  recipe.background = background;
  recipe.flip = flip;
  recipe.upscale = upscale;
  recipe.seed = seed;
  recipe.precision = precision;
  return recipe;
}

}  // namespace tessera
