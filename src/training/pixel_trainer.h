/// Stage 1b, after the codec: fine-tunes its decoder with a second head to the mean and deviation of a Gaussian over
/// every pixel value, which `tessera evaluate --pixel-bits` measures likelihood with. Encoder and codebook, and so the
/// tokens, stay as they are. The released code's `probabilistic`; arXiv:2111.12701, appendix B.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "data/dataset.h"
#include "distributed/ranks.h"
#include "runtime/fields.h"
#include "training/batch_shards.h"
#include "training/training_loop.h"

namespace tessera {

/// Table [pixels] of a recipe; every field is also a flag of `tessera train pixels`.
struct PixelRecipe {
  std::int64_t steps = 1000;
  std::int64_t batch_size = 16;
  ShardRecipe sharing;
  double learning_rate = 1e-4;
  std::int64_t warmup = 100;
  double final_learning_rate = 0.1;
  double clip_norm = 1;
  double ema_decay = 0.99;
  double validation_fraction = 0.05;
  std::string background = "#ffffff";
  std::int64_t seed = 0;
  std::string precision = "auto";

  Fields fields();
  /// Throws Error naming the field.
  void validate() const;
};

/// The task for run_training. In: model, the bundle whose codec is read; bundle, the folder whose vqvae/ is written
/// (may be the same); data at the codec's image size.
std::unique_ptr<TrainingTask> make_pixel_training(const PixelRecipe& recipe, const Dataset& data,
                                                  const std::filesystem::path& model,
                                                  const std::filesystem::path& bundle,
                                                  torch::Device device = torch::kCPU,
                                                  std::shared_ptr<const Ranks> ranks = nullptr);

}  // namespace tessera
