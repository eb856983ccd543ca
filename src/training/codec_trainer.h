/// Stage 1: trains a VQ-VAE or VQGAN on pictures. arXiv:2111.12701, section 3.1 and appendix; arXiv:2012.09841.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "codec/codec_options.h"
#include "data/dataset.h"
#include "distributed/ranks.h"
#include "kernels/ops/layers.h"
#include "runtime/fields.h"
#include "training/batch_shards.h"
#include "training/training_loop.h"

namespace tessera {

/// Table [codec] of a recipe; every field is also a flag of `tessera train codec`.
struct CodecRecipe {
  // geometry
  std::int64_t image_size = 0;
  std::int64_t patch_size = 1;
  std::int64_t base_channels = 32;
  std::vector<std::int64_t> channel_multipliers = {1, 2, 4};
  std::int64_t residual_blocks = 1;
  std::int64_t decoder_residual_blocks = 1;
  std::vector<std::int64_t> attention_resolutions = {16};
  std::int64_t embedding_width = 32;
  bool final_activation = true;
  // quantiser
  std::string quantizer = "nearest";
  bool unit_length = false;
  std::int64_t codebook_size = 512;
  double beta = 0.25;
  std::string beta_on = "codebook";
  double gumbel_kl_weight = 1e-8;
  bool gumbel_straight_through = false;
  bool kmeans_start = true;
  std::int64_t reseed_every = 100;
  // losses
  std::string reconstruction_loss = "l1";
  std::string perceptual = "auto";
  double perceptual_weight = -1;
  std::string lpips_vgg;
  std::string lpips_heads;
  bool adversarial = true;
  std::int64_t discriminator_channels = 64;
  std::int64_t discriminator_layers = 3;
  std::int64_t disc_start_step = -1;
  double disc_start = 0.5;
  double disc_lead = 0.05;
  double disc_ramp = 0.1;
  double disc_weight_max = 1;
  bool diff_aug = true;
  // optimisation
  std::int64_t steps = 0;
  std::int64_t batch_size = 8;
  ShardRecipe sharing;
  double learning_rate = 4e-4;
  double discriminator_learning_rate = 0;
  std::int64_t warmup = -1;
  double final_learning_rate = 0.02;
  double clip_norm = 1;
  double ema_decay = 0.995;
  bool ema_warmup = true;
  // data
  double validation_fraction = 0.05;
  std::string background = "#ffffff";
  bool flip = false;
  double crop_scale = 1;
  bool upscale = false;
  std::int64_t seed = 0;
  std::string precision = "auto";
  std::string start_from;
  bool decoder_only = false;
  std::optional<CodecOptions> inherited;  // what no field has a word for; see inherit_architecture

  Fields fields();
  /// Throws Error naming the field. Resolves nothing.
  void validate() const;
  CodecOptions codec_options() const;
  /// The step from which the adversarial term counts: disc_start_step, else that share of the run.
  std::int64_t adversarial_from() const;
  /// Which perceptual term `perceptual` means, never "auto", and its weight, never negative.
  std::string perceptual_term() const;
  double perceptual_term_weight() const;
};

/// Gives the fields of the network's geometry the values of the codec in the bundle `recipe.start_from`, so that its
/// weights fit; attention stays at the levels where that codec has it, whatever image_size becomes. To be called before
/// what the user chose is laid over it. Does nothing where start_from is empty.
void inherit_architecture(CodecRecipe& recipe);

/// Fills the fields that are left to the data (image_size, steps), those that follow from the run's length (warmup) and
/// from each other (perceptual, its weight).
void choose_defaults(CodecRecipe& recipe, std::int64_t smaller_image_side, std::int64_t images);

/// Linear warm-up of a run that names none: a thirtieth of it, at most 500 steps.
std::int64_t warmup_of(std::int64_t warmup, std::int64_t steps);

/// The task for run_training. In: data at recipe.image_size; bundle, the folder that gets vqvae/ and model_index.json;
/// ranks that share each batch (recipe.shards), none: this process alone.
std::unique_ptr<TrainingTask> make_codec_training(const CodecRecipe& recipe, const Dataset& data,
                                                  const std::filesystem::path& bundle,
                                                  torch::Device device = torch::kCPU,
                                                  std::shared_ptr<const Ranks> ranks = nullptr);

/// "auto", "float32" or "bfloat16"; auto takes bfloat16 where the device has it (kernels/ops/device.h). Unknown names
/// throw.
Precision training_precision(const std::string& name, torch::Device device = torch::kCPU);

}  // namespace tessera
