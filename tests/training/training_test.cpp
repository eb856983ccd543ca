#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "checkpoint/bundle.h"
#include "runtime/atomic_file.h"
#include "runtime/error.h"
#include "training/adam.h"
#include "training/codebook_care.h"
#include "training/event_file.h"
#include "training/prior_trainer.h"
#include "training/recipe.h"
#include "training/row_order.h"

namespace tessera {
namespace training_test {

namespace fs = std::filesystem;

/// A folder of this test alone, removed at the end.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (fs::temp_directory_path() / "tessera-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TemporaryFolder() { fs::remove_all(path_); }
  fs::path operator/(const std::string& name) const { return path_ / name; }

 private:
  fs::path path_;
};

TokenData some_tokens() {
  torch::manual_seed(9);
  TokenData data;
  data.train = torch::randint(0, 5, {20, 2, 3});
  data.validation = torch::randint(0, 5, {4, 2, 3});
  data.codebook_size = 5;
  data.key = "test";
  return data;
}

PriorRecipe tiny_recipe(const std::string& kind) {
  PriorRecipe recipe;
  recipe.prior = kind;
  recipe.layers = 2;
  recipe.heads = 2;
  recipe.width = 8;
  recipe.dropout = 0.1;
  recipe.steps = 12;
  recipe.total_steps = 6;
  recipe.batch_size = 4;
  recipe.warmup = 3;
  recipe.clip_norm = 1;
  recipe.time_sampling = "importance";
  recipe.precision = "float32";
  return recipe;
}

/// Stops the loop after `last` steps, as Ctrl-C does.
class Interrupted : public TrainingTask {
 public:
  Interrupted(TrainingTask& task, std::int64_t last) : task_(task), last_(last) {}
  std::string name() const override { return task_.name(); }
  std::string unit() const override { return task_.unit(); }
  double units_per_step() const override { return task_.units_per_step(); }
  nlohmann::json recipe() const override { return task_.recipe(); }
  Metrics step(std::int64_t step) override {
    if (step + 1 == last_) std::raise(SIGTERM);
    return task_.step(step);
  }
  std::optional<Judgement> validate(std::int64_t step, Recorder& recorder) override {
    return task_.validate(step, recorder);
  }
  void gather_state() override { task_.gather_state(); }
  void measure_together(std::int64_t step) override { task_.measure_together(step); }
  void save_state(TensorMap& into) const override { task_.save_state(into); }
  void load_state(const TensorMap& from) override { task_.load_state(from); }
  void write_bundle(std::int64_t step) override { task_.write_bundle(step); }

 private:
  TrainingTask& task_;
  std::int64_t last_;
};

TEST(Adam, TakesTheStepsOfTheFrameworksAdam) {
  torch::manual_seed(1);
  auto mine = torch::nn::Linear(5, 3), theirs = torch::nn::Linear(5, 3);
  {
    const torch::NoGradGuard no_grad;
    theirs->weight.copy_(mine->weight);
    theirs->bias.copy_(mine->bias);
  }
  Adam adam(mine->named_parameters(), AdamOptions{});
  torch::optim::Adam reference(theirs->parameters(), torch::optim::AdamOptions(1e-2));
  for (int step = 0; step < 20; ++step) {
    const auto x = torch::randn({7, 5});
    mine->forward(x).square().sum().backward();
    adam.step(1e-2);
    reference.zero_grad();
    theirs->forward(x).square().sum().backward();
    reference.step();
  }
  EXPECT_TRUE(torch::allclose(mine->weight, theirs->weight, 1e-5, 1e-7));
  EXPECT_TRUE(torch::allclose(mine->bias, theirs->bias, 1e-5, 1e-7));
}

TEST(Adam, ClipsTheGlobalGradientNorm) {
  auto layer = torch::nn::Linear(2, 1);
  AdamOptions options;
  options.clip_norm = 0.5;
  Adam adam(layer->named_parameters(), options);
  (layer->forward(torch::ones({1, 2})) * 100).sum().backward();
  EXPECT_NEAR(adam.step(1e-3), 100 * std::sqrt(3.0), 1e-2);
}

TEST(Adam, ManyParametersAtOnceTakeTheStepsOfOneByOne) {
  // float64 goes the way of GPUs: all parameters together.
  torch::manual_seed(3);
  auto one = torch::nn::Linear(6, 4);
  auto many = torch::nn::Linear(6, 4);
  many->to(torch::kFloat64);
  auto idle = torch::randn({3}), idle_wide = idle.to(torch::kFloat64);
  const auto with_idle = [](torch::nn::Linear& layer, torch::Tensor& still) {
    auto parameters = layer->named_parameters();
    parameters.insert("idle", still.requires_grad_());
    return parameters;
  };
  {
    const torch::NoGradGuard no_grad;
    many->weight.copy_(one->weight);
    many->bias.copy_(one->bias);
  }
  AdamOptions options;
  options.clip_norm = 0.7;
  options.weight_decay = 0.05;
  options.ema_decay = 0.9;
  options.ema_warmup = false;
  Adam first(with_idle(one, idle), options), second(with_idle(many, idle_wide), options);
  for (int step = 0; step < 15; ++step) {
    const auto x = torch::randn({7, 6});
    one->forward(x).square().mean().backward();
    many->forward(x.to(torch::kFloat64)).square().mean().backward();
    EXPECT_NEAR(first.step(1e-2), second.step(1e-2), 1e-5);
  }
  EXPECT_TRUE(torch::allclose(one->weight.to(torch::kFloat64), many->weight, 1e-4, 1e-6));
  const auto averages = first.averaged(), wide = second.averaged();
  ASSERT_EQ(averages.size(), 3U);
  for (const auto& [name, average] : averages) {
    EXPECT_TRUE(torch::allclose(average.to(torch::kFloat64), wide.at(name), 1e-4, 1e-6)) << name;
  }
  EXPECT_FALSE(torch::allclose(wide.at("weight"), many->weight, 1e-4, 1e-6)) << "the average is no copy";
  EXPECT_TRUE(wide.at("idle").equal(idle_wide.detach())) << "what stands still is its own average";
  EXPECT_TRUE(averages.at("idle").equal(idle.detach()));
}

TEST(Adam, TheAverageOfAShortRunIsNotItsStart) {
  EXPECT_DOUBLE_EQ(average_decay(0.999, true, 1), 2.0 / 11);
  EXPECT_DOUBLE_EQ(average_decay(0.999, true, 90), 91.0 / 100);
  EXPECT_DOUBLE_EQ(average_decay(0.999, true, 100000), 0.999);
  EXPECT_DOUBLE_EQ(average_decay(0.999, false, 1), 0.999);

  // A weight that walks at constant speed from 1 to about 0: the average has to follow, within a fifth of the way.
  for (const bool warmup : {true, false}) {
    auto layer = torch::nn::Linear(torch::nn::LinearOptions(1, 1).bias(false));
    {
      const torch::NoGradGuard no_grad;
      layer->weight.fill_(1);
    }
    AdamOptions options;
    options.ema_decay = 0.999;
    options.ema_warmup = warmup;
    Adam adam(layer->named_parameters(), options);
    for (int step = 0; step < 200; ++step) {
      layer->weight.sum().backward();  // gradient 1: Adam walks by the learning rate
      adam.step(5e-3);
    }
    const double now = layer->weight.item<double>(), averaged = adam.averaged().at("weight").item<double>();
    EXPECT_NEAR(now, 0, 0.01);
    EXPECT_NEAR(adam.plain().at("weight").item<double>(), now, 0);
    if (warmup) {
      EXPECT_LT(averaged, 0.2);
    } else {
      EXPECT_GT(averaged, 0.8) << "what the bundles of short runs held before";
    }
  }
}

TEST(LearningRate, WarmsUpThenFallsToItsFraction) {
  EXPECT_DOUBLE_EQ(learning_rate_at(0, 1.0, 10, 100, 0.1), 0.1);
  EXPECT_DOUBLE_EQ(learning_rate_at(9, 1.0, 10, 100, 0.1), 1.0);
  EXPECT_NEAR(learning_rate_at(100, 1.0, 10, 100, 0.1), 0.1, 1e-12);
  EXPECT_DOUBLE_EQ(learning_rate_at(70, 1.0, 10, 100, 1.0), 1.0);
}

TEST(RowOrder, EveryEpochShowsEveryRowOnce) {
  std::vector<std::int64_t> seen(7, 0);
  for (std::int64_t step = 0; step < 7; ++step) {
    const auto rows = batch_rows(7, 3, 11, step, false);
    for (std::int64_t i = 0; i < 3; ++i) ++seen[static_cast<std::size_t>(rows[i].item<std::int64_t>())];
  }
  EXPECT_EQ(seen, std::vector<std::int64_t>(7, 3));
}

TEST(Kmeans, FindsSeparatedClusters) {
  torch::manual_seed(2);
  const auto centres = torch::tensor({{0.0F, 0.0F}, {10.0F, 0.0F}, {0.0F, 10.0F}});
  const auto rows = centres.repeat({50, 1}) + torch::randn({150, 2}) * 0.1;
  const auto found = kmeans(rows, 3, 4, 20);
  EXPECT_LT(std::get<0>(torch::cdist(centres, found).min(1)).max().item<float>(), 0.2F);
}

TEST(EventFile, ChecksumIsCrc32c) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283U);            // RFC 3720's check value
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aaU);  // RFC 3720, B.4
}

TEST(Recipe, UnknownKeysAndWrongTypesAreNamed) {
  const TemporaryFolder folder;
  PriorRecipe recipe;
  const auto error_of = [&](const std::string& text) {
    write_file_atomically(folder / "r.toml", text);
    try {
      read_recipe(folder / "r.toml", "prior", recipe.fields());
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(error_of("[prior]\nlayers = 3\nlearning_rate = 1\n[codec]\nsteps = 5\n"), "");
  EXPECT_EQ(recipe.layers, 3);
  EXPECT_EQ(recipe.learning_rate, 1.0);
  EXPECT_NE(error_of("[prior]\nlayer = 3\n").find("has no 'layer': expected one of prior, process, condition, layers"),
            std::string::npos);
  EXPECT_NE(error_of("[prior]\nlayers = \"3\"\n").find("r.toml:2: layers"), std::string::npos);
  EXPECT_NE(error_of("[prior\n").find("r.toml:1"), std::string::npos);
  EXPECT_NE(error_of("[denoiser]\n").find("denoiser"), std::string::npos);
}

TEST(Training, AnInterruptedRunResumesToTheVerySameWeights) {
  const auto data = some_tokens();
  for (const std::string kind : {"absorbing", "autoregressive"}) {
    SCOPED_TRACE(kind);
    const TemporaryFolder folder;
    const auto recipe = tiny_recipe(kind);
    LoopOptions options;
    options.steps = recipe.steps;
    options.save_every = 2;
    auto unbroken = make_prior_training(recipe, data, folder / "a", {});
    ASSERT_TRUE(run_training(*unbroken, options, folder / "a/training"));

    auto first = make_prior_training(recipe, data, folder / "b", {});
    Interrupted interrupted(*first, 5);
    ASSERT_FALSE(run_training(interrupted, options, folder / "b/training"));
    EXPECT_THROW(run_training(*first, options, folder / "b/training"), Error) << "a run is there already";
    auto second = make_prior_training(recipe, data, folder / "b", {});
    options.resume = true;
    ASSERT_TRUE(run_training(*second, options, folder / "b/training"));

    TensorMap want, got;
    unbroken->save_state(want);
    second->save_state(got);
    ASSERT_EQ(want.size(), got.size());
    for (const auto& [name, tensor] : want) EXPECT_TRUE(torch::equal(tensor, got.at(name))) << name;
  }
}

TEST(Training, ResumingWithAnotherRecipeNamesTheField) {
  const auto data = some_tokens();
  const TemporaryFolder folder;
  auto recipe = tiny_recipe("absorbing");
  LoopOptions options;
  options.steps = recipe.steps;
  auto task = make_prior_training(recipe, data, folder / "a", {});
  ASSERT_TRUE(run_training(*task, options, folder / "a/training"));
  recipe.learning_rate *= 2;
  auto other = make_prior_training(recipe, data, folder / "a", {});
  options.resume = true;
  try {
    run_training(*other, options, folder / "a/training");
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("learning_rate"), std::string::npos) << error.what();
  }
}

TEST(Training, ARunMayStartFromTheWeightsOfABundle) {
  const auto data = some_tokens();
  const TemporaryFolder folder;
  auto recipe = tiny_recipe("absorbing");
  LoopOptions options;
  options.steps = recipe.steps;
  auto task = make_prior_training(recipe, data, folder / "a", {});
  ASSERT_TRUE(run_training(*task, options, folder / "a/training"));
  recipe.start_from = (folder / "a").string();
  TensorMap begun;
  make_prior_training(recipe, data, folder / "b", {})->save_state(begun);
  const auto shipped = load_bundle(folder / "a").denoiser->tensors;
  ASSERT_FALSE(shipped.empty());
  for (const auto& [name, tensor] : shipped) EXPECT_TRUE(torch::equal(begun.at("model." + name), tensor)) << name;
  recipe.width = 16;
  EXPECT_THROW(make_prior_training(recipe, data, folder / "c", {}), Error) << "of another width";

  // The architecture comes along, and what does not fit is begun anew.
  PriorRecipe bare;
  bare.start_from = recipe.start_from;
  inherit_architecture(bare);
  EXPECT_EQ(bare.layers, 2);
  EXPECT_EQ(bare.heads, 2);
  EXPECT_EQ(bare.width, 8);
  EXPECT_EQ(bare.prior, "absorbing");
  auto more_codes = data;
  more_codes.codebook_size = 7;
  recipe.width = 8;
  TensorMap grown;
  make_prior_training(recipe, more_codes, folder / "d", {})->save_state(grown);
  EXPECT_TRUE(torch::equal(grown.at("model.position_embedding"), shipped.at("position_embedding")));
  EXPECT_EQ(grown.at("model.head.weight").size(0), 7);
}

}  // namespace training_test
}  // namespace tessera
