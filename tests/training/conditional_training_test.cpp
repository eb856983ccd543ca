/// Priors with a condition: every process learns a small one, and a resumed training repeats an unbroken one.
#include "training/prior_trainer.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "checkpoint/bundle.h"
#include "checkpoint/bundle_record.h"
#include "denoiser/conditional_transformer.h"
#include "prior/prior.h"
#include "runtime/atomic_file.h"
#include "runtime/error.h"
#include "sampling/fill.h"
#include "sampling/registry.h"
#include "support/scratch.h"
#include "training/training_loop.h"

namespace tessera {
namespace conditional_training_test {

constexpr std::int64_t kCodes = 5;

/// Grids whose caption and label say which code all of their cells have.
TokenData pictures() {
  const std::vector<std::string> names = {"grey", "red", "green", "blue", "white"};
  TokenData made;
  std::vector<torch::Tensor> grids;
  for (std::int64_t i = 0; i < 15; ++i) {
    const auto code = i % kCodes;
    grids.push_back(torch::full({2, 2}, code, torch::kInt64));
    made.conditions.train_captions.push_back("a " + names[static_cast<std::size_t>(code)] + " square");
    made.conditions.train_labels.push_back(code);
  }
  made.train = torch::stack(grids);
  made.validation = made.train.narrow(0, 0, 5);
  made.conditions.validation_captions = {made.conditions.train_captions.begin(),
                                         made.conditions.train_captions.begin() + 5};
  made.conditions.validation_labels = {0, 1, 2, 3, 4};
  made.conditions.classes = kCodes;
  made.codebook = torch::tensor({0.0, 1.0, 2.2, 3.1, 4.5}).view({kCodes, 1});
  made.codebook_size = kCodes;
  made.key = "squares";
  return made;
}

PriorRecipe small_recipe(const std::string& process, const std::string& condition) {
  PriorRecipe recipe;
  recipe.process = process;
  recipe.condition = condition;
  recipe.text_width = 16;
  recipe.text_layers = 1;
  recipe.text_length = 8;
  recipe.text_merges = 40;
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

/// Part of the cells that have the code that the condition names.
double obedience(const std::filesystem::path& folder, const TokenData& made) {
  const torch::NoGradGuard no_grad;
  Prior prior(load_bundle(folder), "trained", made.codebook, {});
  const auto& network = prior.facts().network;
  double right = 0;
  for (std::int64_t code = 0; code < kCodes; ++code) {
    PromptOptions asked;
    asked.guidance_scale = 2;
    if (network.classes > 0) {
      asked.label = code;
    } else {
      asked.prompt = made.conditions.train_captions[static_cast<std::size_t>(code)];
    }
    FillOptions options;
    options.sampler = default_sampler(network.autoregressive).name;
    options.steps = options.total_steps = prior.facts().total_steps;
    options.process = prior.process();
    options.conditions = {prior.condition_for(asked)};
    options.images_per_call = 8;
    const auto grid = fill(TokenGrid::all_masked(8, {2, 2}, kCodes), prior.denoiser(), options).grid.codes();
    right += grid.eq(code).to(torch::kFloat64).mean().item<double>() / kCodes;
  }
  return right;
}

double trained_obedience(const PriorRecipe& recipe) {
  const auto made = pictures();
  const auto folder = testing::scratch_folder("conditional");
  auto task = make_prior_training(recipe, made, folder, {});
  for (std::int64_t step = 0; step < recipe.steps; ++step) (void)task->step(step);
  task->write_bundle(recipe.steps);
  const auto found = obedience(folder, made);
  std::filesystem::remove_all(folder);
  return found;
}

TEST(ConditionalTraining, EveryProcessLearnsToFollowItsCondition) {
  for (const char* process : {"mask-and-replace", "absorbing", "uniform", "gaussian", "nearest-embedding"}) {
    for (const char* condition : {"text", "class"}) {
      if (std::string(condition) == "class" && std::string(process) != "mask-and-replace") continue;
      EXPECT_GT(trained_obedience(small_recipe(process, condition)), 0.75)
          << process << " " << condition;  // a fifth by chance
    }
  }
}

TEST(ConditionalTraining, TheBundleCarriesTheNamesOfItsClasses) {
  for (const bool in_order : {false, true}) {
    auto recipe = small_recipe("mask-and-replace", "class");
    if (in_order) recipe.prior = kAutoregressive;
    recipe.steps = 1;
    auto made = pictures();
    made.conditions.class_names = {"grey", "red", "green", "blue", "white"};
    const auto folder = testing::scratch_folder("class-names");
    auto task = make_prior_training(recipe, made, folder, {});
    (void)task->step(0);
    task->write_bundle(1);
    Prior prior(load_bundle(folder), "named", made.codebook, {});
    EXPECT_EQ(prior.facts().network.class_names, made.conditions.class_names);
    PromptOptions asked;
    asked.class_name = "green";
    EXPECT_EQ(prior.condition_for(asked).label, 2);
    asked.class_name = "pink";
    EXPECT_THROW((void)prior.condition_for(asked), UsageError);
    std::filesystem::remove_all(folder);
  }
}

TEST(ConditionalTraining, TheAutoregressivePriorFollowsItsConditionToo) {
  for (const char* condition : {"text", "class"}) {
    auto recipe = small_recipe("absorbing", condition);
    recipe.prior = kAutoregressive;
    EXPECT_GT(trained_obedience(recipe), 0.75) << condition;
  }
}

/// Grids of two cells whose captions name the code of each, in either order: which word is meant says its neighbour.
TokenData pairs() {
  const std::vector<std::string> names = {"grey", "red", "green", "blue", "white"};
  TokenData made;
  std::vector<torch::Tensor> grids;
  const auto name = [&](std::int64_t code) { return names[static_cast<std::size_t>(code)]; };
  for (std::int64_t i = 0; i < 50; ++i) {
    const auto left = i % kCodes, right = (i / kCodes) % kCodes;
    grids.push_back(torch::tensor({left, right}).view({1, 2}));
    const auto first = name(left) + " left", second = name(right) + " right";
    made.conditions.train_captions.push_back(i < 25 ? first + ", " + second : second + ", " + first);
  }
  made.train = made.validation = torch::stack(grids);
  made.conditions.validation_captions = made.conditions.train_captions;
  made.codebook_size = kCodes;
  made.key = "pairs";
  return made;
}

TEST(ConditionalTraining, ValidationSaysWhatItsOwnConditionSavesAGrid) {
  const auto folder = testing::scratch_folder("saved");
  auto recipe = small_recipe("absorbing", "text");
  recipe.text_length = 10;
  recipe.whole_mask_rate = 0.5;
  recipe.steps = 1500;
  recipe.validation_grids = 50;
  const auto task = make_prior_training(recipe, pairs(), folder, {});
  LoopOptions loop;
  loop.steps = recipe.steps;
  loop.validate_every = 1500;
  loop.save_every = 0;
  (void)run_training(*task, loop, folder / "training" / "prior");
  std::vector<double> saved;
  std::ifstream lines(folder / "training" / "prior" / "metrics.jsonl");
  for (std::string line; std::getline(lines, line);) {
    const auto record = nlohmann::json::parse(line);
    if (record.contains("bits_saved_by_own_condition")) saved.push_back(record["bits_saved_by_own_condition"]);
  }
  ASSERT_FALSE(saved.empty());
  EXPECT_GT(saved.back(), 1.5) << "both cells' words are bound to their places; another caption is wrong about most";
  std::filesystem::remove_all(folder);
}

TEST(ConditionalTraining, ATextBeginsAsLoudAsTheCells) {
  const torch::NoGradGuard no_grad;
  ConditionalOptions options;
  options.codebook_size = kCodes;
  options.grid = {4, 4};
  options.layers = 1;
  options.heads = 2;
  options.head_width = 32;
  options.condition_width = 96;
  ConditionalTransformer network(options);
  network->initialise(3);
  const auto size_of = [&](const std::string& name, double length) {  // of values of states of that length
    const auto weight = network->state().at("transformer_blocks.0." + name + ".weight");
    return weight.square().sum(1).mean().sqrt().item<double>() * length /
           std::sqrt(static_cast<double>(weight.size(1)));
  };
  for (const char* part : {"to_k", "to_v"}) {
    const auto cells = size_of(std::string("attn1.") + part, std::sqrt(64.0));        // after a norm: sqrt(width)
    EXPECT_NEAR(size_of(std::string("attn2.") + part, 1) / cells, 1.2, 0.3) << part;  // sqrt(96 / 64)
  }
}

TEST(ConditionalTraining, WordsOfAnotherVocabularyReplaceThoseThatWereThere) {
  const auto folder = testing::scratch_folder("words");
  const auto recipe = small_recipe("absorbing", "text");
  auto made = pictures();
  make_prior_training(recipe, made, folder, {})->write_bundle(1);
  const auto before = read_file(folder / "tokenizer" / "merges.txt", 1 << 20);
  write_file_atomically(folder / "tokenizer" / "tokenizer.json", "{}");  // a file that the next one does not have
  record_bundle(folder);
  for (auto* captions : {&made.conditions.train_captions, &made.conditions.validation_captions}) {
    for (auto& caption : *captions) caption = "entirely different words, " + caption;
  }
  make_prior_training(recipe, made, folder, {})->write_bundle(1);
  EXPECT_NE(read_file(folder / "tokenizer" / "merges.txt", 1 << 20), before);
  EXPECT_FALSE(std::filesystem::exists(folder / "tokenizer" / "tokenizer.json"));
  EXPECT_NO_THROW(load_bundle(folder)) << "its index records the new words";
  std::filesystem::remove_all(folder);
}

TEST(ConditionalTraining, AResumedRunRepeatsAnUnbrokenOne) {
  const auto made = pictures();
  auto recipe = small_recipe("mask-and-replace", "text");
  recipe.time_sampling = "importance";
  recipe.dropout = 0.1;
  const auto fresh = [&] { return make_prior_training(recipe, made, "unused", {}); };
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
  const auto message = [&](const PriorRecipe& recipe, bool is_told) -> std::string {
    auto data = made;
    if (!is_told) data.conditions = {};
    try {
      (void)make_prior_training(recipe, data, "unused", {});
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(
      message(small_recipe("melting", "text"), true),
      "recipe: process 'melting': expected one of absorbing, gaussian, mask-and-replace, nearest-embedding, uniform");
  EXPECT_EQ(message(small_recipe("uniform", "smell"), true),
            "recipe: condition 'smell': expected one of none, text, class");
  EXPECT_EQ(message(small_recipe("uniform", "text"), false),
            "condition text: the pictures have no captions (metadata.jsonl)");
  EXPECT_EQ(message(small_recipe("uniform", "class"), false),
            "condition class: the pictures have no labels (folders or metadata.jsonl)");
}

}  // namespace conditional_training_test
}  // namespace tessera
