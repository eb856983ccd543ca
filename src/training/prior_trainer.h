/// Stage 2: trains a prior over the token grids of a codec, whatever its network, process, condition and objective
/// (training/objectives.h).
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "distributed/ranks.h"
#include "training/prior_data.h"
#include "training/prior_networks.h"
#include "training/prior_recipe.h"
#include "training/sample_review.h"
#include "training/training_loop.h"

namespace tessera {

/// What sets one training of a prior apart from another; what is not given is a whole prior's.
struct PriorTrainingKind {
  std::string name = "prior";  // TrainingTask::name
  std::function<MadeNetworks(const PriorNetworksInput& input)> networks = {};
  std::function<void(PriorNetworks& chosen)> write = {};  // in place of the bundle
  std::function<nlohmann::json()> recipe = {};            // TrainingTask::recipe, without the data
};

/// The task for run_training. bundle: gets transformer/, scheduler/ and, with text, text_encoder/, tokenizer/ and the
/// learned embedding. ranks: that share each batch (recipe.shards); none: this process alone. Throws Error where the
/// condition is not in the data.
std::unique_ptr<TrainingTask> make_prior_training(const PriorRecipe& recipe, const TokenData& data,
                                                  const std::filesystem::path& bundle, SampleReview review,
                                                  torch::Device device = torch::kCPU,
                                                  std::shared_ptr<const Ranks> ranks = nullptr,
                                                  PriorTrainingKind kind = {});

}  // namespace tessera
