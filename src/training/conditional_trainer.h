/// Stage 2 with a condition: trains VQ-Diffusion's denoiser on any process, with text (its encoder trained along) or
/// class labels. Gu et al., arXiv:2111.14822, section 4.2; the learned null condition: Tang et al.,
/// arXiv:2205.16007, 3.1.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "training/prior_trainer.h"

namespace tessera {

/// What PriorRecipe has no word for; every field is also a flag of `tessera train prior`.
struct ConditionalRecipe {
  std::string process = "absorbing";
  std::string condition = "none";
  double null_rate = 0.1;
  double auxiliary_weight = 5e-4;
  std::int64_t text_width = 128;
  std::int64_t text_layers = 2;
  std::int64_t text_length = 32;
  std::int64_t text_merges = 1024;

  Fields fields();
  void validate() const;
  /// A prior of the plain kind (training/prior_trainer.h) does.
  bool is_plain() const { return process == "absorbing" && condition == "none"; }
};

/// One entry for each grid of TokenData::train and ::validation.
struct ConditionData {
  std::vector<std::string> train_captions, validation_captions;
  // Further captions of each training grid, of which one of all is drawn at each step; empty: no grid has any.
  std::vector<std::vector<std::string>> more_train_captions;
  std::vector<std::int64_t> train_labels, validation_labels;
  std::int64_t classes = 0;
  torch::Tensor codebook;  // [K, D], for the nearest-embedding process
};

/// Gives the fields of the network's geometry (layers, width, process, condition, text encoder ...) the values of the
/// prior in the bundle `recipe.start_from`, so that its weights fit. To be called before what the user chose is laid
/// over it. Does nothing where start_from is empty.
void inherit_architecture(PriorRecipe& recipe, ConditionalRecipe& conditional);

/// The task for run_training. bundle: gets transformer/, scheduler/ and, with text, text_encoder/, tokenizer/ and the
/// learned embedding. Throws Error where the condition is not in the data.
std::unique_ptr<TrainingTask> make_conditional_training(const PriorRecipe& recipe, const ConditionalRecipe& conditional,
                                                        const TokenData& data, const ConditionData& conditions,
                                                        const std::filesystem::path& bundle, SampleReview review,
                                                        torch::Device device = torch::kCPU);

}  // namespace tessera
