/// Stage 2: trains a prior over the token grids of a codec, whatever its network, process, condition and objective
/// (training/objectives.h).
#pragma once

#include <filesystem>
#include <memory>

#include "training/prior_data.h"
#include "training/prior_recipe.h"
#include "training/sample_review.h"
#include "training/training_loop.h"

namespace tessera {

/// The task for run_training. bundle: gets transformer/, scheduler/ and, with text, text_encoder/, tokenizer/ and the
/// learned embedding. Throws Error where the condition is not in the data.
std::unique_ptr<TrainingTask> make_prior_training(const PriorRecipe& recipe, const TokenData& data,
                                                  const std::filesystem::path& bundle, SampleReview review,
                                                  torch::Device device = torch::kCPU);

}  // namespace tessera
