/// Stage 2: trains a prior over the token grids of a codec: absorbing diffusion, or the autoregressive baseline.
/// arXiv:2111.12701, sections 3.2 and 4.4.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "denoiser/transformer.h"
#include "runtime/fields.h"
#include "tokens/token_grid.h"
#include "training/adam.h"
#include "training/training_loop.h"

namespace tessera {

/// Table [prior] of a recipe; every field is also a flag of `tessera train prior`.
struct PriorRecipe {
  std::string prior = "absorbing";
  std::int64_t layers = 6;
  std::int64_t heads = 4;
  std::int64_t width = 256;
  double dropout = 0;
  std::string initialisation = "small_normal";
  std::string start_from;
  std::int64_t total_steps = 0;
  std::string loss = "reweighted_elbo";
  std::string mask_schedule = "random";
  std::string time_sampling = "uniform";
  std::int64_t steps = 0;
  std::int64_t batch_size = 16;
  double learning_rate = 1e-3;
  std::int64_t warmup = -1;
  double final_learning_rate = 0.02;
  double weight_decay = 0.01;
  double beta2 = 0.99;
  double clip_norm = 1;
  double ema_decay = 0.998;
  bool ema_warmup = true;
  std::string sampling = "epochs";
  double validation_fraction = 0.05;
  std::string background = "#ffffff";
  bool flip = false;
  bool upscale = false;
  std::int64_t validation_grids = 128;
  bool validation_spread = true;
  std::int64_t validation_terms = 16;
  std::string keep = "distance";
  std::int64_t seed = 0;
  std::string precision = "auto";

  Fields fields();
  void validate() const;
  AdamOptions adam() const;
  /// Which of `count` grids a validation looks at: [min(validation_grids, count)] int64, ascending.
  torch::Tensor grids_to_measure(std::int64_t count) const;
};

/// Token grids to train on.
struct TokenData {
  torch::Tensor train;       // [n, h, w] integers
  torch::Tensor validation;  // [m, h, w]
  std::int64_t codebook_size = 0;
  std::string key;         // hash of where they come from
  std::int64_t count = 0;  // pictures or grids in the set, held out or not; 0: not known
};

/// Puts what is to be seen of grids sampled at a validation into the recorder; empty: nothing is sampled.
using GridPreview = std::function<void(std::int64_t step, const TokenGrid& samples, Recorder& recorder)>;

/// Judges grids sampled at a validation (training/sample_judge.h).
struct GridJudge {
  std::int64_t grids = 0;  // that it needs
  std::function<Judgement(std::int64_t step, const TokenGrid& samples, Recorder& recorder)> judge;
};

/// What looks at the samples of a validation.
struct SampleReview {
  GridPreview preview = {};  // of the first 16
  GridJudge judge = {};

  /// Samples to be made; 0: none.
  std::int64_t count() const;
  std::optional<Judgement> operator()(std::int64_t step, const TokenGrid& samples, Recorder& recorder) const;
};

/// Likelihoods of the averaged weights and of the plain ones on the same held-out grids, bits a token, as figures; and
/// which is the better.
struct WeightsCompared {
  double averaged = 0, plain = 0;
  bool averaged_is_better() const { return averaged <= plain; }
  void add_to(Metrics& figures) const;
};

/// steps from the number of grids, total_steps from the cells, warmup from the steps.
void choose_defaults(PriorRecipe& recipe, const TokenData& data);

/// The task for run_training. bundle: gets transformer/ and scheduler/.
std::unique_ptr<TrainingTask> make_prior_training(const PriorRecipe& recipe, const TokenData& data,
                                                  const std::filesystem::path& bundle, SampleReview review,
                                                  torch::Device device = torch::kCPU);

}  // namespace tessera
