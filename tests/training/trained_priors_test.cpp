/// Every prior that a recipe can name learns what it can of small distributions, and its samples follow them.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "checkpoint/bundle.h"
#include "prior/prior.h"
#include "runtime/error.h"
#include "sampling/fill.h"
#include "sampling/registry.h"
#include "support/scratch.h"
#include "training/prior_trainer.h"
#include "training/training_loop.h"

namespace tessera {
namespace trained_priors_test {

constexpr std::int64_t kCodes = 5;

/// Grids all of whose cells have the code that is their label.
TokenData squares() {
  TokenData made;
  std::vector<torch::Tensor> grids;
  for (std::int64_t i = 0; i < 5 * kCodes; ++i) {
    grids.push_back(torch::full({2, 2}, i % kCodes, torch::kInt64));
    made.conditions.train_labels.push_back(i % kCodes);
  }
  made.train = made.validation = torch::stack(grids);
  made.conditions.validation_labels = made.conditions.train_labels;
  made.conditions.classes = kCodes;
  made.codebook_size = kCodes;
  made.key = "squares";
  return made;
}

PriorRecipe small_recipe(const std::string& prior) {
  PriorRecipe recipe;
  recipe.prior = prior;
  recipe.layers = prior == "pixelcnn" ? 2 : 1;
  recipe.heads = 2;
  recipe.width = 32;
  recipe.steps = 800;
  recipe.batch_size = 25;
  recipe.learning_rate = 3e-3;
  recipe.warmup = 10;
  recipe.ema_decay = 0.9;
  recipe.precision = "float32";
  recipe.validation_grids = 25;
  choose_defaults(recipe, squares());
  return recipe;
}

struct Trained {
  double bits = 0;       // a token, of the validation
  torch::Tensor grids;   // [500, 4], sampled from the bundle
  nlohmann::json facts;  // of the bundle's files
};

Trained train(const PriorRecipe& recipe, const PromptOptions& asked = {}) {
  const torch::NoGradGuard no_grad;
  const auto folder = testing::scratch_folder("trained-priors");
  const auto made = squares();
  {
    const torch::AutoGradMode with_gradients(true);
    auto task = make_prior_training(recipe, made, folder, {});
    LoopOptions loop;
    loop.steps = recipe.steps;
    loop.validate_every = recipe.steps;
    loop.save_every = 0;
    (void)run_training(*task, loop, folder / "training" / "prior");
  }
  Trained trained;
  std::ifstream lines(folder / "training" / "prior" / "metrics.jsonl");
  for (std::string line; std::getline(lines, line);) {
    const auto record = nlohmann::json::parse(line);
    trained.bits = record.value("validation_bits_per_token", trained.bits);
  }
  const auto bundle = load_bundle(folder);
  Prior prior(bundle, "trained", made.codebook, {});
  FillOptions options;
  options.total_steps = prior.facts().total_steps;
  options.process = prior.process();
  options.steps = options.total_steps;
  options.images_per_call = 100;
  options.conditions = {prior.condition_for(asked)};
  options.conditions.front().scale = 1;
  trained.grids = fill(TokenGrid::all_masked(500, {2, 2}, kCodes), prior.denoiser(), options).grid.flat();
  trained.facts = {{"process", prior.facts().process}, {"network", bundle.denoiser->config["_class_name"]}};
  std::filesystem::remove_all(folder);
  return trained;
}

/// Part of the grids whose cells are of one code.
double obedience(const torch::Tensor& grids) {
  return grids.eq(grids.narrow(1, 0, 1)).all(1).to(torch::kFloat64).mean().item<double>();
}

TEST(TrainedPriors, EachLearnsAllThatThereIsToKnow) {
  const double entropy = std::log2(5.0) / 4;  // one free code in four cells
  for (const auto& [prior, process, network] : {std::tuple{"absorbing", "absorbing", "TesseraTransformer"},
                                                std::tuple{"autoregressive", "autoregressive", "TesseraTransformer"},
                                                std::tuple{"pixelcnn", "autoregressive", "TesseraPixelCnn"},
                                                std::tuple{"imagebart", "uniform", "TesseraImageBart"}}) {
    SCOPED_TRACE(prior);
    auto recipe = small_recipe(prior);
    if (recipe.prior == "absorbing") recipe.total_steps = 64;  // of 4 steps several cells are opened blindly at once
    const auto trained = train(recipe);
    EXPECT_GT(trained.bits, entropy - 0.05) << "no bound lies below the entropy, but for its draws";
    EXPECT_LT(trained.bits, entropy + 0.08);
    EXPECT_GT(obedience(trained.grids), 0.95);
    EXPECT_EQ(trained.facts["process"], process);
    EXPECT_EQ(trained.facts["network"], network);
    const auto counts = torch::bincount(trained.grids.select(1, 0), {}, kCodes);
    EXPECT_GT(counts.min().item<std::int64_t>(), 60) << counts;  // 100 each
  }
}

TEST(TrainedPriors, ThoseThatTakeAClassFollowIt) {
  for (const char* prior : {"pixelcnn", "imagebart"}) {
    SCOPED_TRACE(prior);
    auto recipe = small_recipe(prior);
    recipe.condition = "class";
    PromptOptions asked;
    asked.label = 3;
    const auto trained = train(recipe, asked);
    EXPECT_LT(trained.bits, 0.08) << "the class says it all";
    EXPECT_GT(trained.grids.select(1, 0).eq(3).to(torch::kFloat64).mean().item<double>(), 0.9);
  }
}

TEST(TrainedPriors, FrequenciesAreCountedNotLearned) {
  auto recipe = small_recipe("code-frequencies");
  EXPECT_EQ(recipe.steps, 1);
  for (const char* frequencies : {"codes", "cells", "none"}) {
    recipe.frequencies = frequencies;
    const auto trained = train(recipe);
    EXPECT_NEAR(trained.bits, std::log2(5.0), 1e-5) << frequencies;  // each code is as often as the others, everywhere
    EXPECT_EQ(trained.facts["network"], "TesseraCodeFrequencies");
  }
  auto uneven = squares();
  uneven.train = uneven.validation = torch::tensor({0, 0, 0, 1}).view({1, 2, 2}).repeat({200, 1, 1});
  recipe.frequencies = "cells";
  const auto folder = testing::scratch_folder("frequencies");
  auto task = make_prior_training(recipe, uneven, folder, {});
  (void)task->step(0);
  task->write_bundle(1);
  const auto table = load_bundle(folder).denoiser->tensors.at("log_probabilities").exp();
  ASSERT_EQ(table.sizes(), torch::IntArrayRef({4, kCodes}));
  EXPECT_NEAR(table[0][0].item<double>(), 201.0 / 205, 1e-6);  // one is added to each count
  EXPECT_NEAR(table[3][1].item<double>(), 201.0 / 205, 1e-6);
  EXPECT_NEAR(table[3][2].item<double>(), 1.0 / 205, 1e-6);
  std::filesystem::remove_all(folder);
}

TEST(TrainedPriors, WhatAPriorCannotBeToldIsNamed) {
  for (const auto& [prior, condition] :
       {std::pair{"pixelcnn", "text"}, std::pair{"imagebart", "text"}, std::pair{"code-frequencies", "class"}}) {
    auto recipe = small_recipe(prior);
    recipe.condition = condition;
    try {
      recipe.validate();
      ADD_FAILURE() << prior;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what())
                    .find(fmt::format("condition '{}': the {} prior takes one of none", condition, prior)),
                std::string::npos)
          << error.what();
    }
  }
}

TEST(TrainedPriors, ATrainingThatStartsFromABundleHasItsPrior) {
  for (const char* prior : {"pixelcnn", "imagebart"}) {
    const auto folder = testing::scratch_folder("start-of-priors");
    auto recipe = small_recipe(prior);
    if (recipe.prior == "imagebart") recipe.chain_schedule = "alphacum:1,0.5,0.25,0";
    make_prior_training(recipe, squares(), folder, {})->write_bundle(0);
    PriorRecipe next;
    next.start_from = folder.string();
    inherit_architecture(next);
    EXPECT_EQ(next.prior, prior);
    EXPECT_EQ(next.width, 32);
    EXPECT_EQ(next.layers, recipe.layers);
    if (recipe.prior == "imagebart") {
      EXPECT_EQ(next.total_steps, 3);
      EXPECT_EQ(next.chain_schedule, recipe.chain_schedule);
    }
    choose_defaults(next, squares());
    EXPECT_NO_THROW((void)make_prior_training(next, squares(), folder / "next", {}));
    std::filesystem::remove_all(folder);
  }
}

}  // namespace trained_priors_test
}  // namespace tessera
