// Training steps of recipes/emoji64.toml's sizes. The priors: 6 layers of width 256 on 16x16 cells of 512 codes,
// batches of 16, without a condition (absorbing) and with text (mask-and-replace, T = 100, 32 positions); random grids
// and captions, which cost the same as real ones. The codec, where pictures are given: 64x64, batches of 8. Medians of
// wall time, and pictures a processor second, which other programs do not change. usage: bench_training_steps [threads]
// [steps] [pictures]
#include <dlfcn.h>
#include <fmt/format.h>
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <vector>

#include "runtime/heap.h"
#include "training/codec_trainer.h"
#include "training/prior_trainer.h"

namespace {

using namespace tessera;

constexpr std::int64_t kPictures = 200, kCodes = 512;

TokenData some_tokens() {
  TokenData data;
  data.codebook_size = kCodes;
  data.key = "random";
  data.train = torch::randint(kCodes, {kPictures, 16, 16}, torch::kInt64);
  data.validation = data.train.narrow(0, 0, 8);
  return data;
}

ConditionData some_captions() {
  const std::vector<std::string> words = {"woman", "man",    "firefighter", "pilot", "farmer", "hand", "waving",
                                          "light", "medium", "dark",        "skin",  "tone",   "red",  "apple"};
  ConditionData conditions;
  for (std::int64_t i = 0; i < kPictures; ++i) {
    std::string caption;
    for (std::int64_t j = 0; j < 6; ++j) {
      caption += words[static_cast<std::size_t>(i * 7 + j * 3 + i / 14) % words.size()] + " ";
    }
    conditions.train_captions.push_back(caption);
  }
  conditions.validation_captions = {conditions.train_captions.begin(), conditions.train_captions.begin() + 8};
  return conditions;
}

PriorRecipe small_recipe(std::int64_t total_steps) {
  PriorRecipe recipe;
  recipe.layers = 6;
  recipe.heads = 4;
  recipe.width = 256;
  recipe.batch_size = 16;
  recipe.steps = 1000;
  recipe.learning_rate = 1e-4;
  recipe.warmup = 10;
  recipe.clip_norm = 1;
  recipe.ema_decay = 0.99;
  recipe.total_steps = total_steps;
  return recipe;
}

void measure(const char* name, TrainingTask& task, std::int64_t steps, std::int64_t batch) {
  (void)task.step(0);
  std::vector<double> milliseconds;
  const auto begin = std::clock();
  for (std::int64_t step = 1; step <= steps; ++step) {
    const auto start = std::chrono::steady_clock::now();
    (void)task.step(step);
    milliseconds.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  }
  const double seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  const auto middle = milliseconds.begin() + static_cast<std::ptrdiff_t>(milliseconds.size() / 2);
  std::nth_element(milliseconds.begin(), middle, milliseconds.end());
  fmt::print("{:<34} {:7.1f} ms a step {:6.1f} pictures a processor second\n", name, *middle,
             static_cast<double>(batch * steps) / seconds);
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  const std::int64_t steps = std::max<std::int64_t>(1, argc > 2 ? std::atoll(argv[2]) : 8);
  torch::set_num_threads(threads);
  if (void* set = dlsym(RTLD_DEFAULT, "openblas_set_num_threads")) reinterpret_cast<void (*)(int)>(set)(threads);
  keep_freed_memory();  // as the program does
  torch::manual_seed(0);
  const auto data = some_tokens();
  const auto plain = make_prior_training(small_recipe(256), data, "unused", {});
  measure("absorbing, no condition", *plain, steps, 16);
  auto told = data;
  told.conditions = some_captions();
  auto with_text = small_recipe(100);
  with_text.process = "mask-and-replace";
  with_text.condition = "text";
  const auto text = make_prior_training(with_text, told, "unused", {});
  measure("mask-and-replace, text", *text, steps, 16);
  if (argc <= 3) return 0;
  auto recipe = CodecRecipe();
  recipe.image_size = 64;
  recipe.embedding_width = 32;
  recipe.perceptual_weight = 0.2;
  recipe.adversarial = false;
  recipe.steps = 5000;
  recipe.batch_size = 8;
  DatasetOptions pictures;
  pictures.path = argv[3];
  pictures.size = recipe.image_size;
  const auto codec = make_codec_training(recipe, Dataset::open(pictures), "unused");
  measure("codec", *codec, steps, recipe.batch_size);
}
