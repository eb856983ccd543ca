/// Training on a GPU beside the CPU's: the same batches and draws, losses that differ by rounding.
#include <cmath>

#include "data/dataset.h"
#include "device/gpu.h"
#include "runtime/error.h"
#include "support/scratch.h"
#include "training/adam.h"
#include "training/codec_trainer.h"
#include "training/prior_trainer.h"
#include "training/training_loop.h"

namespace tessera {
namespace gpu_training_test {

using testing::Gpu;

class GpuTraining : public Gpu {};

TokenData some_tokens() {
  torch::manual_seed(9);
  TokenData data;
  // Each grid repeats one of five codes but for some cells: there is something to learn.
  const auto base = torch::randint(0, 5, {60, 1, 1}, torch::kInt64).expand({60, 4, 4});
  const auto noise = torch::randint(0, 12, {60, 4, 4}, torch::kInt64);
  data.train = torch::where(torch::rand({60, 4, 4}) < 0.8, base, noise);
  data.validation = data.train.narrow(0, 0, 6).clone();
  data.codebook_size = 12;
  data.key = "test";
  return data;
}

PriorRecipe small_recipe(const std::string& kind) {
  PriorRecipe recipe;
  recipe.prior = kind;
  recipe.layers = 2;
  recipe.heads = 2;
  recipe.width = 32;
  recipe.steps = 40;
  recipe.total_steps = 16;
  recipe.batch_size = 12;
  recipe.learning_rate = 1e-3;
  recipe.warmup = 3;
  recipe.clip_norm = 1;
  recipe.precision = "float32";
  return recipe;
}

std::vector<double> losses_of(TrainingTask& task, std::int64_t steps) {
  std::vector<double> losses;
  for (std::int64_t step = 0; step < steps; ++step) losses.push_back(task.step(step).at("loss"));
  return losses;
}

void expect_the_same(const std::vector<double>& here, const std::vector<double>& there, double most) {
  ASSERT_EQ(here.size(), there.size());
  for (std::size_t i = 0; i < here.size(); ++i) EXPECT_NEAR(there[i], here[i], most * (1 + here[i])) << "step " << i;
  EXPECT_LT(there.back(), there.front());
}

TEST_F(GpuTraining, AdamTakesTheCpusSteps) {
  torch::manual_seed(3);
  const auto start = torch::randn({9, 5}), still = torch::randn({4});
  AdamOptions options;
  options.clip_norm = 0.7;
  options.weight_decay = 0.05;
  options.ema_decay = 0.9;
  const auto run = [&](torch::Device where) {
    torch::OrderedDict<std::string, torch::Tensor> parameters;
    parameters.insert("moving", start.clone().to(where).requires_grad_());
    parameters.insert("still", still.clone().to(where).requires_grad_());
    Adam adam(parameters, options);
    double norm = 0;
    for (int step = 0; step < 12; ++step) {
      (parameters["moving"] * (step + 1)).cos().sum().backward();
      norm += adam.step(1e-2);
    }
    TensorMap state = adam.averaged();
    adam.save("", state);
    state["norm"] = torch::tensor(norm);
    for (auto& [name, tensor] : state) tensor = tensor.to(torch::kCPU, torch::kFloat64);
    return state;
  };
  const auto here = run(torch::kCPU), there = run(device());
  ASSERT_EQ(here.size(), there.size());
  for (const auto& [name, tensor] : here) {
    EXPECT_TRUE(torch::allclose(tensor, there.at(name), 1e-4, 1e-5)) << name;
  }
  EXPECT_TRUE(there.at("still").equal(still.to(torch::kFloat64)));
}

TEST_F(GpuTraining, PriorsLearnAsOnTheCpu) {
  const auto data = some_tokens();
  for (const std::string kind : {"absorbing", "autoregressive"}) {
    SCOPED_TRACE(kind);
    const auto folder = testing::scratch_folder("gpu-training");
    const auto recipe = small_recipe(kind);
    auto here = make_prior_training(recipe, data, folder / "here", {});
    auto there = make_prior_training(recipe, data, folder / "there", {}, device());
    expect_the_same(losses_of(*here, 30), losses_of(*there, 30), 1e-3);
    // What the GPU saved goes on on the CPU.
    TensorMap state;
    there->save_state(state);
    for (auto& [name, tensor] : state) tensor = tensor.to(torch::kCPU).clone();
    auto resumed = make_prior_training(recipe, data, folder / "resumed", {});
    resumed->load_state(state);
    EXPECT_NEAR(resumed->step(30).at("loss"), there->step(30).at("loss"), 1e-3);
    Recorder recorder(folder / "there", 31);
    there->validate(31, recorder);
    there->write_bundle(31);
    std::filesystem::remove_all(folder);
  }
}

TEST_F(GpuTraining, BfloatLearnsToo) {
  const auto data = some_tokens();
  auto recipe = small_recipe("absorbing");
  auto exact = make_prior_training(recipe, data, "unused", {}, device());
  recipe.precision = "bfloat16";
  auto rounded = make_prior_training(recipe, data, "unused", {}, device());
  expect_the_same(losses_of(*exact, 30), losses_of(*rounded, 30), 0.03);
}

TEST_F(GpuTraining, ConditionsAreLearnedAsOnTheCpu) {
  auto data = some_tokens();
  ConditionData conditions;
  for (std::int64_t i = 0; i < data.train.size(0); ++i) {
    const auto most = data.train[i][0][0].item<std::int64_t>();
    conditions.train_captions.push_back("number " + std::to_string(most));
    conditions.train_labels.push_back(most);
  }
  conditions.validation_captions = {conditions.train_captions.begin(), conditions.train_captions.begin() + 6};
  conditions.validation_labels = {conditions.train_labels.begin(), conditions.train_labels.begin() + 6};
  conditions.classes = 12;
  data.codebook = torch::randn({12, 4});
  data.conditions = conditions;
  for (const char* process : {"mask-and-replace", "absorbing", "uniform", "gaussian", "nearest-embedding"}) {
    for (const char* condition : {"text", "class"}) {
      SCOPED_TRACE(std::string(process) + ", " + condition);
      const auto folder = testing::scratch_folder("gpu-conditional");
      auto recipe = small_recipe("absorbing");
      recipe.process = process;
      recipe.condition = condition;
      recipe.text_width = 32;
      recipe.text_layers = 1;
      recipe.text_length = 8;
      recipe.text_merges = 20;
      auto here = make_prior_training(recipe, data, folder / "here", {});
      auto there = make_prior_training(recipe, data, folder / "there", {}, device());
      expect_the_same(losses_of(*here, 12), losses_of(*there, 12), 2e-3);
      Recorder recorder(folder / "there", 12);
      there->validate(12, recorder);
      there->write_bundle(12);
      std::filesystem::remove_all(folder);
    }
  }
}

TEST_F(GpuTraining, CodecsLearnAsOnTheCpu) {
  torch::manual_seed(4);
  const auto folder = testing::scratch_folder("gpu-codec");
  // Smooth pictures: a few waves of random colours.
  const auto phase = torch::linspace(0, 6.28, 32);
  const auto a = torch::rand({24, 3, 1, 1}) * 3, b = torch::rand({24, 3, 1, 1}) * 3;
  const auto waves = (a * phase.view({1, 1, 32, 1}) + b * phase.view({1, 1, 1, 32})).sin();
  DatasetContent content;
  content.images = ((waves * 0.5 + 0.5) * 255).to(torch::kUInt8).contiguous();
  content.items.resize(24);
  const Dataset data(content, 0.1, 0);
  for (const char* quantizer : {"nearest", "ema", "gumbel"}) {
    SCOPED_TRACE(quantizer);
    CodecRecipe recipe;
    recipe.quantizer = quantizer;
    recipe.image_size = 32;
    recipe.base_channels = 32;
    recipe.channel_multipliers = {1, 2};
    recipe.residual_blocks = 1;
    recipe.codebook_size = 32;
    recipe.embedding_width = 16;
    recipe.batch_size = 4;
    recipe.steps = 20;
    recipe.warmup = 2;
    recipe.disc_start_step = 2;
    recipe.discriminator_channels = 16;
    recipe.precision = "float32";
    auto here = make_codec_training(recipe, data, folder / "here");
    auto there = make_codec_training(recipe, data, folder / "there", device());
    const auto expected = losses_of(*here, 4), got = losses_of(*there, 4);
    for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(got[i], expected[i], 0.02 * (1 + expected[i])) << i;
    Recorder recorder(folder / "there", 4);
    there->validate(4, recorder);
    there->write_bundle(4);
  }
  std::filesystem::remove_all(folder);
}

}  // namespace gpu_training_test
}  // namespace tessera
