// For every field of a prior's recipe and every training: the field changes what is trained or seen of it, or is
// refused by name. Records hold what was used.
#include "training/prior_fields.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "checkpoint/bundle.h"
#include "data/content_hash.h"
#include "runtime/error.h"
#include "support/scratch.h"
#include "training/prior_networks.h"
#include "training/prior_trainer.h"
#include "training/recipe.h"

namespace tessera {
namespace prior_fields_test {

namespace fs = std::filesystem;
using testing::scratch_folder;

constexpr std::int64_t kCodes = 6;

/// Fields that decide which pictures and tokens a training gets, before there is a task.
const std::set<std::string> kOfTheData = {"validation_fraction", "background", "flip", "upscale", "encode_precision"};

struct Objective {
  const char* name;
  std::string prior = "absorbing", process = "absorbing", condition = "none";
};

const std::vector<Objective> kObjectives = {
    {"absorbing"},
    {"autoregressive", "autoregressive"},
    {"uniform", "absorbing", "uniform"},
    {"text", "absorbing", "mask-and-replace", "text"},
    {"class", "absorbing", "absorbing", "class"},
    {"autoregressive-class", "autoregressive", "absorbing", "class"},
    {"autoregressive-text", "autoregressive", "absorbing", "text"},
    {"pixelcnn", "pixelcnn"},
    {"pixelcnn-class", "pixelcnn", "absorbing", "class"},
    {"imagebart", "imagebart"},
    {"imagebart-class", "imagebart", "absorbing", "class"},
    {"joint", "joint", "absorbing", "text"},
    {"code-frequencies", "code-frequencies"},
};

/// Another value for each field, as a recipe spells it.
std::map<std::string, std::string> other_values(const fs::path& start) {
  return {{"prior", "\"autoregressive\""},
          {"layers", "2"},
          {"heads", "8"},
          {"width", "32"},
          {"dropout", "0.4"},
          {"attention_block", "1"},
          {"initialisation", "\"framework\""},
          {"start_from", fmt::format("\"{}\"", start.string())},
          {"total_steps", "7"},
          {"chain_schedule", "\"0.5\""},
          {"frequencies", "\"cells\""},
          {"loss", "\"mlm\""},
          {"mask_schedule", "\"fixed\""},
          {"time_sampling", "\"importance\""},
          {"steps", "9"},
          {"batch_size", "3"},
          {"shards", "2"},
          {"gradient_type", "\"bfloat16\""},
          {"learning_rate", "3e-3"},
          {"warmup", "4"},
          {"final_learning_rate", "0.9"},
          {"weight_decay", "0.5"},
          {"beta2", "0.5"},
          {"clip_norm", "0.01"},
          {"ema_decay", "0.2"},
          {"ema_warmup", "false"},
          {"sampling", "\"replacement\""},
          {"validation_grids", "1"},
          {"validation_spread", "false"},
          {"validation_terms", "1"},
          {"keep", "\"latest\""},
          {"seed", "4"},
          {"precision", "\"bfloat16\""},
          {"process", "\"uniform\""},
          {"condition", "\"class\""},
          {"null_rate", "0.9"},
          {"keyword_rate", "1"},
          {"auxiliary_weight", "0.5"},
          {"whole_mask_rate", "1"},
          {"whole_mask_steps", "3"},
          {"text_width", "8"},
          {"text_layers", "3"},
          {"text_length", "5"},
          {"text_merges", "2"}};
}

PriorRecipe recipe_for(const Objective& objective) {
  PriorRecipe recipe;
  recipe.prior = objective.prior;
  recipe.process = objective.process;
  recipe.condition = objective.condition;
  return recipe;
}

/// Small enough to train in a moment; these values are no part of the table.
PriorRecipe small(PriorRecipe recipe) {
  const PriorRecipe usual;
  const auto shrink = [](auto& value, const auto& was, auto to) {
    if (value == was) value = to;
  };
  shrink(recipe.layers, usual.layers, 1);
  shrink(recipe.heads, usual.heads, 2);
  shrink(recipe.width, usual.width, 16);
  shrink(recipe.total_steps, usual.total_steps, 8);
  shrink(recipe.steps, usual.steps, 6);
  shrink(recipe.batch_size, usual.batch_size, 4);
  shrink(recipe.warmup, usual.warmup, 2);
  shrink(recipe.validation_grids, usual.validation_grids, 3);
  shrink(recipe.precision, usual.precision, "float32");
  shrink(recipe.text_width, usual.text_width, 16);
  shrink(recipe.text_layers, usual.text_layers, 1);
  shrink(recipe.text_length, usual.text_length, 8);
  shrink(recipe.text_merges, usual.text_merges, 30);
  return recipe;
}

TokenData tokens() {
  torch::manual_seed(2);
  TokenData data;
  data.codebook_size = kCodes;
  data.train = torch::randint(0, kCodes, {13, 2, 3});
  data.validation = torch::randint(0, kCodes, {7, 2, 3});
  data.key = "some";
  auto& made = data.conditions;
  const auto say = [](std::int64_t i) {
    return fmt::format("a {} picture of number {}", i % 2 ? "red" : "blue", i % 5);
  };
  for (std::int64_t i = 0; i < data.train.size(0); ++i) {
    made.train_captions.push_back(say(i));
    made.train_keywords.push_back({i % 2 ? "red" : "blue", "picture"});
    made.train_labels.push_back(i % 3);
  }
  for (std::int64_t i = 0; i < data.validation.size(0); ++i) {
    made.validation_captions.push_back(say(i + 1));
    made.validation_labels.push_back(i % 3);
  }
  made.classes = 3;
  data.codebook = torch::arange(kCodes, torch::kFloat32).unsqueeze(1);
  return data;
}

/// What a training comes to: its weights, its records, and which step is kept where a judge prefers the first look.
std::string trained(const PriorRecipe& given, const fs::path& folder) {
  const auto recipe = small(given);
  SampleReview review;
  std::int64_t looks = 0;
  if (recipe.keep == "distance") {
    review.judge = {2, [&](std::int64_t, const TokenGrid&, Recorder&) {
                      Judgement judgement;
                      judgement.score = static_cast<double>(looks++);
                      return judgement;
                    }};
  }
  auto task = make_prior_training(recipe, tokens(), folder, review);
  LoopOptions loop;
  loop.steps = recipe.steps;
  loop.validate_every = 3;
  loop.save_every = 0;
  (void)run_training(*task, loop, folder / "training" / "prior");
  ContentHash hash;
  TensorMap state;
  task->save_state(state);
  const auto bundle = load_bundle(folder);
  for (const auto& [name, tensor] : bundle.denoiser->tensors) state["bundle." + name] = tensor;
  for (const auto& [name, tensor] : state) {
    hash.add(name);
    const auto bytes = tensor.contiguous().cpu();
    hash.add(std::string(static_cast<const char*>(bytes.data_ptr()), bytes.nbytes()));
  }
  std::ifstream lines(folder / "training" / "prior" / "metrics.jsonl");
  for (std::string line; std::getline(lines, line);) {
    auto record = nlohmann::json::parse(line);
    record.erase("images_per_second");
    record.erase("time");
    record.erase("seconds");
    hash.add(record.dump());
  }
  return hash.hex();
}

TEST(PriorFields, EachChangesWhatIsTrainedOrIsRefusedByName) {
  const auto folder = scratch_folder("prior-fields");
  for (const auto& objective : kObjectives) {
    SCOPED_TRACE(objective.name);
    const auto start = folder / (std::string(objective.name) + "-start");
    auto base = recipe_for(objective);
    base.seed = 9;
    (void)trained(base, start);
    base.seed = 0;
    const auto without = trained(base, folder / (std::string(objective.name) + "-base"));
    EXPECT_EQ(trained(base, folder / (std::string(objective.name) + "-again")), without) << "the same again";
    const auto others = other_values(start);
    auto listed = base;
    for (const auto& field : listed.fields()) {
      if (kOfTheData.count(field.name)) continue;
      SCOPED_TRACE(field.name);
      ASSERT_TRUE(others.count(field.name)) << "the table has no other value for it";
      auto changed = base;
      const auto file = folder / "recipe.toml";
      std::ofstream(file) << "[prior]\n" << field.name << " = " << others.at(field.name) << "\n";
      read_recipe(file, "prior", changed.fields());
      // Fields that make another training of it: that one is meant then.
      const bool selects = field.name == "prior" || field.name == "process" || field.name == "condition";
      const auto& takes = trained_priors().at(changed.prior).conditions;
      if (std::find(takes.begin(), takes.end(), changed.condition) == takes.end()) {
        EXPECT_THROW(small(changed).validate(), Error) << "a condition that the prior does not take";
        continue;
      }
      const auto why = unused_field(field.name, changed);
      if (!why.empty()) {
        try {
          require_used_fields(changed);
          ADD_FAILURE() << "accepted in silence";
        } catch (const UsageError& error) {
          EXPECT_EQ(std::string(error.what()).rfind(field.name + " is ", 0), 0u) << error.what();
        }
        continue;
      }
      if (selects && changed.process != "absorbing" && !unused_field("process", changed).empty()) {
        EXPECT_THROW(require_used_fields(changed), UsageError) << "two that exclude each other";
        continue;
      }
      EXPECT_NO_THROW(require_used_fields(changed));
      if (field.name == "time_sampling") {  // it begins when every time has been seen ten times
        auto longer = base;
        longer.steps = changed.steps = 60;
        const auto name = std::string(objective.name) + "-longer";
        EXPECT_NE(trained(changed, folder / (name + "-other")), trained(longer, folder / name));
        continue;
      }
      const auto with = trained(changed, folder / (std::string(objective.name) + "-" + field.name));
      if (!selects || changed.prior != base.prior || changed.process != base.process ||
          changed.condition != base.condition) {
        EXPECT_NE(with, without) << "it changes nothing";
      }
    }
  }
}

TEST(PriorFields, RecordsAndCardsHoldWhatWasUsed) {
  const auto folder = scratch_folder("prior-fields-card");
  for (const auto& objective : kObjectives) {
    SCOPED_TRACE(objective.name);
    const auto out = folder / objective.name;
    (void)trained(recipe_for(objective), out);
    const auto card = load_bundle(out).readme;
    const auto begin = card.find("```json") + 7;
    const auto recipe = nlohmann::json::parse(card.substr(begin, card.find("```", begin) - begin));
    auto used = recipe_for(objective);
    for (const auto& field : used.fields())
      EXPECT_EQ(recipe.contains(field.name), unused_field(field.name, used).empty()) << field.name;
  }
}

TEST(PriorFields, TheShippedCardsSayNothingThatTheirTrainingDidNotRead) {
  for (const auto& entry : fs::directory_iterator(std::string(TESSERA_SOURCE_DIR) + "/models")) {
    SCOPED_TRACE(entry.path());
    const auto card = load_bundle(entry.path()).readme;
    const auto part = card.find("<!-- prior: written by tessera train -->");
    if (part == std::string::npos) continue;
    const auto begin = card.find("```json", part) + 7;
    const auto recipe = nlohmann::json::parse(card.substr(begin, card.find("```", begin) - begin));
    PriorRecipe prior;
    prior.prior = recipe.value("prior", "absorbing");
    prior.process = recipe.value("process", "absorbing");
    prior.condition = recipe.value("condition", "none");
    for (const auto& [name, value] : recipe.items()) EXPECT_EQ(unused_field(name, prior), "") << name;
  }
}

TEST(PriorFields, TheRecipesInTheRepositoryNameNothingUnused) {
  for (const auto& entry : fs::recursive_directory_iterator(std::string(TESSERA_SOURCE_DIR) + "/recipes")) {
    if (entry.path().extension() != ".toml") continue;
    SCOPED_TRACE(entry.path());
    std::stringstream text;
    text << std::ifstream(entry.path()).rdbuf();
    if (text.str().find("\n[prior]") == std::string::npos && text.str().rfind("[prior]", 0) != 0) continue;
    PriorRecipe recipe;
    read_recipe(entry.path(), "prior", recipe.fields());
    EXPECT_NO_THROW(require_used_fields(recipe));
  }
}

}  // namespace prior_fields_test
}  // namespace tessera
