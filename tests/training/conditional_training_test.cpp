/// Priors with a condition: every process learns a small one, and a resumed training repeats an unbroken one.
#include "training/conditional_trainer.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "checkpoint/bundle.h"
#include "denoiser/guided_denoiser.h"
#include "pipeline/process_config.h"
#include "pipeline/text_condition.h"
#include "runtime/error.h"
#include "sampling/fill.h"
#include "support/scratch.h"

namespace tessera {
namespace conditional_training_test {

constexpr std::int64_t kCodes = 5;

/// Pictures whose caption and label say which code all of their cells have.
struct Pictures {
  TokenData tokens;
  ConditionData conditions;
};

Pictures pictures() {
  const std::vector<std::string> names = {"grey", "red", "green", "blue", "white"};
  Pictures made;
  std::vector<torch::Tensor> grids;
  for (std::int64_t i = 0; i < 15; ++i) {
    const auto code = i % kCodes;
    grids.push_back(torch::full({2, 2}, code, torch::kInt64));
    made.conditions.train_captions.push_back("a " + names[static_cast<std::size_t>(code)] + " square");
    made.conditions.train_labels.push_back(code);
  }
  made.tokens.train = torch::stack(grids);
  made.tokens.validation = made.tokens.train.narrow(0, 0, 5);
  made.conditions.validation_captions = {made.conditions.train_captions.begin(),
                                         made.conditions.train_captions.begin() + 5};
  made.conditions.validation_labels = {0, 1, 2, 3, 4};
  made.conditions.classes = kCodes;
  made.conditions.codebook = torch::tensor({0.0, 1.0, 2.2, 3.1, 4.5}).view({kCodes, 1});
  made.tokens.codebook_size = kCodes;
  made.tokens.key = "squares";
  return made;
}

PriorRecipe small_recipe() {
  PriorRecipe recipe;
  recipe.layers = 1;
  recipe.heads = 2;
  recipe.width = 32;
  recipe.total_steps = 12;
  recipe.steps = 400;
  recipe.batch_size = 15;
  recipe.learning_rate = 1e-3;
  recipe.warmup = 10;
  recipe.final_learning_rate = 1;
  recipe.weight_decay = 0;
  recipe.beta2 = 0.999;
  recipe.clip_norm = 1;
  recipe.ema_decay = 0.9;
  recipe.precision = "float32";
  recipe.validation_grids = 5;
  return recipe;
}

ConditionalRecipe small_condition(const std::string& process, const std::string& condition) {
  ConditionalRecipe conditional;
  conditional.process = process;
  conditional.condition = condition;
  conditional.text_width = 16;
  conditional.text_layers = 1;
  conditional.text_length = 8;
  conditional.text_merges = 40;
  return conditional;
}

/// Part of the cells that have the code that the condition names.
double obedience(const std::filesystem::path& folder, const Pictures& made) {
  const torch::NoGradGuard no_grad;
  const auto bundle = load_bundle(folder);
  auto network = load_conditional(bundle.denoiser->config, bundle.denoiser->tensors, "trained");
  const auto& options = network->options();
  const auto process =
      make_process(*bundle.scheduler, options.codebook_size, options.total_steps, made.conditions.codebook, "trained")
          .process;
  GuidedDenoiser denoiser(network);
  double right = 0;
  for (std::int64_t code = 0; code < kCodes; ++code) {
    Condition condition;
    condition.scale = 2;
    if (options.classes > 0) {
      condition.label = code;
    } else {
      auto text = TextCondition::load(bundle, "trained");
      condition.states = text.states(made.conditions.train_captions[static_cast<std::size_t>(code)]);
      condition.null_states = text.null_states();
    }
    FillOptions fill_options;
    fill_options.steps = options.total_steps;
    fill_options.process = process;
    fill_options.conditions = {condition};
    fill_options.images_per_call = 8;
    const auto grid = fill(TokenGrid::all_masked(8, {2, 2}, kCodes), denoiser, fill_options).grid.codes();
    right += grid.eq(code).to(torch::kFloat64).mean().item<double>() / kCodes;
  }
  return right;
}

TEST(ConditionalTraining, EveryProcessLearnsToFollowItsCondition) {
  const auto made = pictures();
  for (const char* process : {"mask-and-replace", "absorbing", "uniform", "gaussian", "nearest-embedding"}) {
    for (const char* condition : {"text", "class"}) {
      if (std::string(condition) == "class" && std::string(process) != "mask-and-replace") continue;
      const auto folder = testing::scratch_folder("conditional");
      const auto recipe = small_recipe();
      auto task = make_conditional_training(recipe, small_condition(process, condition), made.tokens, made.conditions,
                                            folder, {});
      for (std::int64_t step = 0; step < recipe.steps; ++step) (void)task->step(step);
      task->write_bundle(recipe.steps);
      EXPECT_GT(obedience(folder, made), 0.75) << process << " " << condition;  // a fifth by chance
      std::filesystem::remove_all(folder);
    }
  }
}

TEST(ConditionalTraining, AResumedRunRepeatsAnUnbrokenOne) {
  const auto made = pictures();
  auto recipe = small_recipe();
  recipe.time_sampling = "importance";
  recipe.dropout = 0.1;
  const auto conditional = small_condition("mask-and-replace", "text");
  const auto fresh = [&] {
    return make_conditional_training(recipe, conditional, made.tokens, made.conditions, "unused", {});
  };
  const auto whole = fresh();
  for (std::int64_t step = 0; step < 6; ++step) (void)whole->step(step);
  const auto first = fresh();
  for (std::int64_t step = 0; step < 3; ++step) (void)first->step(step);
  TensorMap half, end, again;
  first->save_state(half);
  for (auto& [name, tensor] : half) tensor = tensor.clone();
  const auto second = fresh();
  second->load_state(half);
  for (std::int64_t step = 3; step < 6; ++step) (void)second->step(step);
  whole->save_state(end);
  second->save_state(again);
  ASSERT_EQ(end.size(), again.size());
  for (const auto& [name, tensor] : end) EXPECT_TRUE(tensor.equal(again.at(name))) << name;
}

TEST(ConditionalTraining, WhatIsMissingIsNamed) {
  auto made = pictures();
  const auto message = [&](const ConditionalRecipe& conditional, const ConditionData& conditions) -> std::string {
    try {
      (void)make_conditional_training(small_recipe(), conditional, made.tokens, conditions, "unused", {});
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(
      message(small_condition("melting", "text"), made.conditions),
      "recipe: process 'melting': expected one of absorbing, gaussian, mask-and-replace, nearest-embedding, uniform");
  EXPECT_EQ(message(small_condition("uniform", "smell"), made.conditions),
            "recipe: condition 'smell': expected one of none, text, class");
  EXPECT_EQ(message(small_condition("uniform", "text"), {}),
            "condition text: the pictures have no captions (metadata.jsonl)");
  EXPECT_EQ(message(small_condition("uniform", "class"), {}),
            "condition class: the pictures have no labels (folders or metadata.jsonl)");
}

}  // namespace conditional_training_test
}  // namespace tessera
