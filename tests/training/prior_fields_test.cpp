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
#include "training/recipe.h"

namespace tessera {
namespace prior_fields_test {

namespace fs = std::filesystem;
using testing::scratch_folder;

constexpr std::int64_t kCodes = 6;

/// Fields that decide which pictures and tokens a training gets, before there is a task.
const std::set<std::string> kOfTheData = {"validation_fraction", "background", "flip", "upscale"};

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
};

/// Another value for each field, as a recipe spells it.
std::map<std::string, std::string> other_values(const fs::path& start) {
  return {{"prior", "\"autoregressive\""},
          {"layers", "2"},
          {"heads", "8"},
          {"width", "32"},
          {"dropout", "0.4"},
          {"initialisation", "\"framework\""},
          {"start_from", fmt::format("\"{}\"", start.string())},
          {"total_steps", "7"},
          {"loss", "\"mlm\""},
          {"mask_schedule", "\"fixed\""},
          {"time_sampling", "\"importance\""},
          {"steps", "9"},
          {"batch_size", "3"},
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
          {"auxiliary_weight", "0.5"},
          {"text_width", "8"},
          {"text_layers", "3"},
          {"text_length", "5"},
          {"text_merges", "2"}};
}

struct Recipes {
  PriorRecipe prior;
  ConditionalRecipe conditional;

  Fields fields() {
    auto all = prior.fields();
    for (const auto& field : conditional.fields()) all.push_back(field);
    return all;
  }
};

Recipes recipes_for(const Objective& objective) {
  Recipes recipes;
  recipes.prior.prior = objective.prior;
  recipes.conditional.process = objective.process;
  recipes.conditional.condition = objective.condition;
  return recipes;
}

/// Small enough to train in a moment; these values are no part of the table.
Recipes small(Recipes recipes) {
  auto& prior = recipes.prior;
  const PriorRecipe usual;
  const ConditionalRecipe usual_condition;
  const auto shrink = [](auto& value, const auto& was, auto to) {
    if (value == was) value = to;
  };
  shrink(prior.layers, usual.layers, 1);
  shrink(prior.heads, usual.heads, 2);
  shrink(prior.width, usual.width, 16);
  shrink(prior.total_steps, usual.total_steps, 8);
  shrink(prior.steps, usual.steps, 6);
  shrink(prior.batch_size, usual.batch_size, 4);
  shrink(prior.warmup, usual.warmup, 2);
  shrink(prior.validation_grids, usual.validation_grids, 3);
  shrink(prior.precision, usual.precision, "float32");
  auto& conditional = recipes.conditional;
  shrink(conditional.text_width, usual_condition.text_width, 16);
  shrink(conditional.text_layers, usual_condition.text_layers, 1);
  shrink(conditional.text_length, usual_condition.text_length, 8);
  shrink(conditional.text_merges, usual_condition.text_merges, 30);
  return recipes;
}

TokenData tokens() {
  torch::manual_seed(2);
  TokenData data;
  data.codebook_size = kCodes;
  data.train = torch::randint(0, kCodes, {13, 2, 3});
  data.validation = torch::randint(0, kCodes, {7, 2, 3});
  data.key = "some";
  return data;
}

ConditionData conditions(const TokenData& data) {
  ConditionData made;
  const auto say = [](std::int64_t i) {
    return fmt::format("a {} picture of number {}", i % 2 ? "red" : "blue", i % 5);
  };
  for (std::int64_t i = 0; i < data.train.size(0); ++i) {
    made.train_captions.push_back(say(i));
    made.train_labels.push_back(i % 3);
  }
  for (std::int64_t i = 0; i < data.validation.size(0); ++i) {
    made.validation_captions.push_back(say(i + 1));
    made.validation_labels.push_back(i % 3);
  }
  made.classes = 3;
  made.codebook = torch::arange(kCodes, torch::kFloat32).unsqueeze(1);
  return made;
}

/// What a training comes to: its weights, its records, and which step is kept where a judge prefers the first look.
std::string trained(const Recipes& given, const fs::path& folder) {
  const auto recipes = small(given);
  const auto data = tokens();
  SampleReview review;
  std::int64_t looks = 0;
  if (recipes.prior.keep == "distance") {
    review.judge = {2, [&](std::int64_t, const TokenGrid&, Recorder&) {
                      Judgement judgement;
                      judgement.score = static_cast<double>(looks++);
                      return judgement;
                    }};
  }
  auto task = recipes.conditional.is_plain() ? make_prior_training(recipes.prior, data, folder, review)
                                             : make_conditional_training(recipes.prior, recipes.conditional, data,
                                                                         conditions(data), folder, review);
  LoopOptions loop;
  loop.steps = recipes.prior.steps;
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
    auto base = recipes_for(objective);
    base.prior.seed = 9;
    (void)trained(base, start);
    base.prior.seed = 0;
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
      const auto why = unused_field(field.name, changed.prior, changed.conditional);
      if (!why.empty()) {
        try {
          require_used_fields(changed.prior, changed.conditional);
          ADD_FAILURE() << "accepted in silence";
        } catch (const UsageError& error) {
          EXPECT_EQ(std::string(error.what()).rfind(field.name + " is ", 0), 0u) << error.what();
        }
        continue;
      }
      if (selects && changed.prior.prior == "autoregressive" && !changed.conditional.is_plain()) {
        EXPECT_THROW(require_used_fields(changed.prior, changed.conditional), UsageError)
            << "two that exclude each other";
        continue;
      }
      EXPECT_NO_THROW(require_used_fields(changed.prior, changed.conditional));
      if (field.name == "time_sampling") {  // it begins when every time has been seen ten times
        auto longer = base;
        longer.prior.steps = changed.prior.steps = 60;
        const auto name = std::string(objective.name) + "-longer";
        EXPECT_NE(trained(changed, folder / (name + "-other")), trained(longer, folder / name));
        continue;
      }
      const auto with = trained(changed, folder / (std::string(objective.name) + "-" + field.name));
      if (!selects || changed.prior.prior != base.prior.prior ||
          changed.conditional.process != base.conditional.process ||
          changed.conditional.condition != base.conditional.condition) {
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
    (void)trained(recipes_for(objective), out);
    const auto card = load_bundle(out).readme;
    const auto begin = card.find("```json") + 7;
    const auto recipe = nlohmann::json::parse(card.substr(begin, card.find("```", begin) - begin));
    auto recipes = recipes_for(objective);
    for (const auto& field : recipes.fields())
      EXPECT_EQ(recipe.contains(field.name), unused_field(field.name, recipes.prior, recipes.conditional).empty())
          << field.name;
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
    ConditionalRecipe conditional;
    prior.prior = recipe.value("prior", "absorbing");
    conditional.process = recipe.value("process", "absorbing");
    conditional.condition = recipe.value("condition", "none");
    for (const auto& [name, value] : recipe.items()) EXPECT_EQ(unused_field(name, prior, conditional), "") << name;
  }
}

TEST(PriorFields, TheRecipesInTheRepositoryNameNothingUnused) {
  for (const auto& entry : fs::recursive_directory_iterator(std::string(TESSERA_SOURCE_DIR) + "/recipes")) {
    if (entry.path().extension() != ".toml") continue;
    SCOPED_TRACE(entry.path());
    std::stringstream text;
    text << std::ifstream(entry.path()).rdbuf();
    if (text.str().find("\n[prior]") == std::string::npos && text.str().rfind("[prior]", 0) != 0) continue;
    Recipes recipes;
    read_recipe(entry.path(), "prior", recipes.fields());
    EXPECT_NO_THROW(require_used_fields(recipes.prior, recipes.conditional));
  }
}

}  // namespace prior_fields_test
}  // namespace tessera
