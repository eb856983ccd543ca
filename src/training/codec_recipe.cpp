#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "checkpoint/bundle.h"
#include "runtime/error.h"
#include "training/codec_trainer.h"

namespace tessera {
namespace {

constexpr std::int64_t kSmallestForSqueezeNet = 17;  // pixels a side, BackboneDescription::smallest_side()
constexpr double kFeatureDistanceWeight = 0.1;       // provisional: docs/references.md

void check_perceptual(const CodecRecipe& recipe) {
  const auto term = recipe.perceptual_term();
  const bool known = term == "squeezenet" || term == "lpips" || term == "edges" || term == "none";
  require(
      known || term.ends_with(".json"),
      "recipe: perceptual '{}': expected one of auto, squeezenet, lpips, edges, none, or a feature network's JSON file",
      term);
  require(term != "lpips" || !recipe.lpips_vgg.empty(), "recipe: perceptual lpips needs lpips_vgg and lpips_heads");
  require(term == "lpips" || recipe.lpips_vgg.empty(),
          "recipe: lpips_vgg is not used by perceptual {}: expected perceptual = lpips, or no lpips_vgg", term);
  require(term != "squeezenet" || recipe.image_size >= kSmallestForSqueezeNet,
          "recipe: perceptual squeezenet on pictures of {} pixels, expected {} or more (or perceptual = edges)",
          recipe.image_size, kSmallestForSqueezeNet);
  require(term != "none" || recipe.perceptual_weight <= 0,
          "recipe: perceptual_weight {} is not used by perceptual none: expected 0, or another term",
          recipe.perceptual_weight);
  require(recipe.perceptual_weight >= 0 || recipe.perceptual_weight == -1,
          "recipe: perceptual_weight {}, expected 0 (off) or more, or -1 (chosen for the term)",
          recipe.perceptual_weight);
}

}  // namespace

Fields CodecRecipe::fields() {
  return {
      {"image_size", "pixels a side; 0 chooses from the pictures", &image_size},
      {"patch_size",
       "pixels a side that enter and leave the convolutions as one: 2 costs a quarter and halves the grid "
       "(1, 2, 4, 8)",
       &patch_size},
      {"base_channels", "width of the first convolution, a multiple of 32", &base_channels},
      {"channel_multipliers",
       "width of each level over base_channels, finest first; each further level halves the grid",
       &channel_multipliers},
      {"residual_blocks", "residual blocks a level in the encoder", &residual_blocks},
      {"decoder_residual_blocks", "residual blocks a level in the decoder", &decoder_residual_blocks},
      {"attention_resolutions", "attention after each residual block at these image sizes", &attention_resolutions},
      {"embedding_width", "width of a codebook row", &embedding_width},
      {"final_activation",
       "swish before the last convolution of encoder and decoder (false: as Unleashing Transformers)",
       &final_activation},
      {"quantizer", "nearest, gumbel or ema", &quantizer},
      {"unit_length",
       "compare latents and codes at length 1 (quantizer nearest; with few numbers a code: embedding_width 8)",
       &unit_length},
      {"codebook_size", "number of codes", &codebook_size},
      {"beta", "weight of the term that beta_on names", &beta},
      {"beta_on", "codebook (as the released code) or commitment (as the VQ-VAE paper)", &beta_on},
      {"gumbel_kl_weight", "weight of the KL term of the gumbel quantiser", &gumbel_kl_weight},
      {"gumbel_straight_through", "hard codes in the forward pass of the gumbel quantiser", &gumbel_straight_through},
      {"kmeans_start", "start the codebook from k-means over latents of the first batches", &kmeans_start},
      {"reseed_every", "steps between re-seedings of codes that went unused since the last; 0 never", &reseed_every},
      {"reconstruction_loss", "l1 or l2", &reconstruction_loss},
      {"perceptual",
       "perceptual term: squeezenet (ships with the program), lpips, edges, none, or the JSON of a feature network; "
       "auto: "
       "lpips where its files are given, else squeezenet (edges below 17 pixels)",
       &perceptual},
      {"perceptual_weight", "weight of the perceptual term; 0 disables; -1: lpips and edges 1, a feature network 0.1",
       &perceptual_weight},
      {"lpips_vgg", "VGG16 weights for LPIPS", &lpips_vgg},
      {"lpips_heads", "LPIPS head weights", &lpips_heads},
      {"adversarial", "train a discriminator (false: a plain VQ-VAE)", &adversarial},
      {"discriminator_channels", "width of the discriminator's first convolution", &discriminator_channels},
      {"discriminator_layers", "convolutions of stride 2 in the discriminator", &discriminator_layers},
      {"disc_start_step", "the adversarial term counts from this step on; -1: from disc_start of the run on",
       &disc_start_step},
      {"disc_start", "share of the run after which the adversarial term counts, where disc_start_step is -1",
       &disc_start},
      {"disc_lead", "share of the run in which the discriminator learns before its term counts; 0: none", &disc_lead},
      {"disc_ramp", "share of the run over which the term's weight then rises to its full size; 0: at once",
       &disc_ramp},
      {"disc_weight_max", "largest adaptive weight of the adversarial term", &disc_weight_max},
      {"diff_aug", "colour and translation augmentation of the discriminator's inputs", &diff_aug},
      {"steps", "updates in all; 0 chooses from the number of pictures", &steps},
      {"batch_size", "pictures an update", &batch_size},
      sharing.shards_field(),
      sharing.gradient_type_field(),
      {"learning_rate", "of Adam", &learning_rate},
      {"discriminator_learning_rate", "0: the same", &discriminator_learning_rate},
      {"warmup", "steps of linear warm-up; -1: a thirtieth of the run, at most 500", &warmup},
      {"final_learning_rate", "fraction of the learning rate reached at the end by a cosine; 1: constant",
       &final_learning_rate},
      {"clip_norm", "largest gradient norm; 0 disables", &clip_norm},
      {"ema_decay", "of the averaged weights, which the bundle gets where they are the better ones; 0: none",
       &ema_decay},
      {"ema_warmup", "the average spans a tenth of the run so far until it has its full length", &ema_warmup},
      {"validation_fraction", "of the pictures held out", &validation_fraction},
      {"background", "colour under transparent pixels", &background},
      {"flip", "mirror pictures at random", &flip},
      {"crop_scale", "resize to this multiple of image_size and cut out at random; 1 disables", &crop_scale},
      {"upscale", "enlarge pictures smaller than image_size (false: they are skipped)", &upscale},
      {"seed", "of weights, batches and noise", &seed},
      {"precision", "auto, float32 or bfloat16 (activations; weights stay float32)", &precision},
      {"start_from", "bundle folder whose codec's weights to start from; empty: random ones", &start_from},
      {"decoder_only",
       "train the decoder of start_from's codec alone: pictures keep their codes, and a prior of them stays valid",
       &decoder_only},
  };
}

std::string CodecRecipe::perceptual_term() const {
  if (perceptual != "auto") return perceptual;
  if (!lpips_vgg.empty()) return "lpips";
  return image_size >= kSmallestForSqueezeNet ? "squeezenet" : "edges";
}

double CodecRecipe::perceptual_term_weight() const {
  const auto term = perceptual_term();
  if (term == "none") return 0;
  if (perceptual_weight != -1) return perceptual_weight;  // validate() refuses other negative ones
  return term == "lpips" || term == "edges" ? 1 : kFeatureDistanceWeight;
}

CodecOptions CodecRecipe::codec_options() const {
  auto options = inherited.value_or(CodecOptions{});
  options.image_size = image_size;
  options.patch_size = patch_size;
  options.base_channels = base_channels;
  options.channel_multipliers = channel_multipliers;
  options.residual_blocks = residual_blocks;
  options.decoder_residual_blocks = decoder_residual_blocks;
  options.attention_resolutions = attention_resolutions;
  if (inherited && attention_resolutions == inherited->attention_resolutions) {
    // At the levels where the other codec has it, whatever the size.
    options.attention_resolutions.clear();
    for (std::int64_t level = 0; level < inherited->levels(); ++level) {
      if (inherited->attention_at(level)) options.attention_resolutions.push_back(options.resolution_at(level));
    }
  }
  options.embedding_width = embedding_width;
  options.codebook_size = codebook_size;
  options.final_activation = final_activation;
  options.quantizer = quantizer_kind(quantizer);
  options.unit_length = unit_length;
  options.beta = beta;
  options.beta_term = beta_term(beta_on);
  return options;
}

void CodecRecipe::validate() const {
  require(image_size > 0, "recipe: image_size {}, expected a positive number of pixels", image_size);
  codec_options().validate();
  require(reconstruction_loss == "l1" || reconstruction_loss == "l2",
          "recipe: reconstruction_loss '{}': expected one of l1, l2", reconstruction_loss);
  require(batch_size >= 1, "recipe: batch_size {}, expected 1 or more", batch_size);
  sharing.validate(batch_size);
  require(steps >= 1, "recipe: steps {}, expected 1 or more", steps);
  require(learning_rate > 0, "recipe: learning_rate {}, expected a positive number", learning_rate);
  require(warmup >= -1, "recipe: warmup {}, expected 0 or more steps, or -1", warmup);
  require(ema_decay >= 0 && ema_decay < 1, "recipe: ema_decay {}, expected 0 up to below 1", ema_decay);
  require(!decoder_only || !start_from.empty(), "recipe: decoder_only needs start_from, the codec whose codes stay");
  require(lpips_vgg.empty() == lpips_heads.empty(), "recipe: lpips_vgg and lpips_heads go together");
  check_perceptual(*this);
  require(crop_scale >= 1, "recipe: crop_scale {}, expected 1 or more", crop_scale);
  require(reseed_every >= 0, "recipe: reseed_every {}, expected 0 or more", reseed_every);
  (void)training_precision(precision);
  if (!adversarial) return;
  require(disc_start_step >= -1, "recipe: disc_start_step {}, expected 0 or more, or -1", disc_start_step);
  for (const auto& [name, share] :
       {std::pair{"disc_start", disc_start}, std::pair{"disc_lead", disc_lead}, std::pair{"disc_ramp", disc_ramp}}) {
    require(share >= 0 && share <= 1, "recipe: {} {}, expected a share of the run, 0 to 1", name, share);
  }
  require(discriminator_channels >= 1 && discriminator_channels <= 4096,
          "recipe: discriminator_channels {}, expected 1 to 4096", discriminator_channels);
  require(discriminator_layers >= 1 && discriminator_layers <= 8, "recipe: discriminator_layers {}, expected 1 to 8",
          discriminator_layers);
  // Each 4x4 convolution with padding 1 halves the side, the last two take one pixel: found out now, not at
  // disc_start_step.
  const auto patches = (image_size >> discriminator_layers) - 2;
  require(patches >= 1,
          "recipe: discriminator_layers {} leave nothing of {} pixels, expected fewer layers (or adversarial = false)",
          discriminator_layers, image_size);
}

void choose_defaults(CodecRecipe& recipe, std::int64_t smaller_image_side, std::int64_t images) {
  if (recipe.image_size == 0) {
    // The largest usual size that the pictures fill; 64 bounds what a CPU trains in an evening.
    recipe.image_size = 32;
    while (recipe.image_size < 64 && recipe.image_size * 2 <= smaller_image_side) recipe.image_size *= 2;
  }
  recipe.perceptual_weight = recipe.perceptual_term_weight();
  recipe.perceptual = recipe.perceptual_term();
  if (recipe.steps == 0)
    recipe.steps = std::clamp<std::int64_t>(40 * images / std::max<std::int64_t>(recipe.batch_size, 1), 2000, 100000);
  recipe.warmup = warmup_of(recipe.warmup, recipe.steps);
}

std::int64_t warmup_of(std::int64_t warmup, std::int64_t steps) {
  return warmup >= 0 ? warmup : std::min<std::int64_t>(500, steps / 30);
}

std::int64_t CodecRecipe::adversarial_from() const {
  return disc_start_step >= 0 ? disc_start_step : static_cast<std::int64_t>(disc_start * static_cast<double>(steps));
}

void inherit_architecture(CodecRecipe& recipe) {
  if (recipe.start_from.empty()) return;
  const auto bundle = load_bundle(recipe.start_from);
  require(bundle.codec.has_value(), "start_from: {}: the bundle holds no codec (vqvae/)", recipe.start_from);
  const auto given = codec_options_from_json(bundle.codec->config);
  recipe.image_size = given.image_size;
  recipe.patch_size = given.patch_size;
  recipe.base_channels = given.base_channels;
  recipe.channel_multipliers = given.channel_multipliers;
  recipe.residual_blocks = given.residual_blocks;
  recipe.decoder_residual_blocks = given.decoder_residual_blocks;
  recipe.attention_resolutions = given.attention_resolutions;
  recipe.embedding_width = given.embedding_width;
  recipe.codebook_size = given.codebook_size;
  recipe.final_activation = given.final_activation;
  recipe.quantizer = to_string(given.quantizer);
  recipe.unit_length = given.unit_length;
  recipe.beta = given.beta;
  recipe.beta_on = to_string(given.beta_term);
  recipe.inherited = given;
}

}  // namespace tessera
