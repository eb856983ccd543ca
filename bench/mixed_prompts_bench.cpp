// Images under as many prompts against as many under one: seconds of a fill, in pairs, and their median ratio; and what
// beginning a run (keys and values of its texts) costs; and an evaluation of the network whose blocks multiply keys and
// values of the texts anew, as before, against one that is given them.
// usage: bench_mixed_prompts BUNDLE [images] [steps] [rounds]
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <vector>

#include "checkpoint/bundle.h"
#include "denoiser/conditional_transformer.h"
#include "kernels/ops/device.h"
#include "pipeline/pipeline.h"

namespace {

double seconds(const std::function<void()>& call) {
  const auto begin = std::chrono::steady_clock::now();
  call();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

/// Milliseconds of an evaluation, [0] with keys and values made anew in it, [1] with those made once; and their median
/// ratio. In: a bundle with text, images a call.
void compare_texts(const std::string& folder, tessera::Pipeline& pipeline, std::int64_t images, std::int64_t rounds) {
  using namespace tessera;
  const auto parts = load_bundle(folder);
  auto network = load_conditional(parts.denoiser->config, parts.denoiser->tensors, folder, WeightLoading::share);
  network->set_precision(precision_from("auto", torch::kCPU));
  const auto& options = network->options();
  const auto cells = options.grid.cells();
  const auto tokens = torch::full({images, cells}, options.codebook_size, torch::kInt64);
  const auto times = torch::full({1}, options.total_steps, torch::kInt64);
  ConditionBatch anew, once;
  anew.states = pipeline.condition_for({"red heart", "", -1, 3.0}).states.unsqueeze(0).expand({images, -1, -1});
  once.keys_and_values = network->keys_and_values(anew.states.narrow(0, 0, 1));
  once.texts = torch::zeros({images}, torch::kInt64);
  (void)network->forward(tokens, times, anew);
  std::vector<double> of_anew, of_once, ratios;
  for (std::int64_t round = 0; round < rounds; ++round) {
    of_anew.push_back(seconds([&] { (void)network->forward(tokens, times, anew); }));
    of_once.push_back(seconds([&] { (void)network->forward(tokens, times, once); }));
    ratios.push_back(of_once.back() / of_anew.back());
  }
  fmt::print(
      "an evaluation of {} images: texts multiplied in it {:.2f} ms, once a run {:.2f} ms, median ratio {:.3f}\n",
      images, 1e3 * median(of_anew), 1e3 * median(of_once), median(ratios));
}

}  // namespace

int main(int argc, char** argv) {
  using namespace tessera;
  if (argc < 2) {
    fmt::print(stderr, "usage: bench_mixed_prompts BUNDLE [images] [steps] [rounds]\n");
    return 2;
  }
  const auto number = [&](int place, std::int64_t otherwise) -> std::int64_t {
    return argc > place ? std::atoll(argv[place]) : otherwise;
  };
  const auto images = number(2, 8), steps = number(3, 16), rounds = number(4, 9);
  const torch::NoGradGuard no_grad;
  auto pipeline = Pipeline::load(argv[1], {"auto", "cpu", true});
  FillOptions one;
  one.sampler = "ancestral";
  one.steps = steps;
  auto mixed = one;
  one.conditions = {pipeline.condition_for({"red heart", "", -1, 3.0})};
  for (std::int64_t i = 0; i < images; ++i)
    mixed.conditions.push_back(pipeline.condition_for({fmt::format("red heart {}", i), "", -1, 3.0}));
  (void)pipeline.generate(1, one);  // packs the weights
  std::vector<double> ratios, of_one, of_mixed, begins;
  for (std::int64_t round = 0; round < rounds; ++round) {
    of_one.push_back(seconds([&] { (void)pipeline.generate(images, one); }));
    of_mixed.push_back(seconds([&] { (void)pipeline.generate(images, mixed); }));
    ratios.push_back(of_mixed.back() / of_one.back());
    begins.push_back(seconds([&] { (void)pipeline.prior().begin(mixed.conditions); }));
  }
  fmt::print(
      "{} images, {} steps: one prompt {:.3f} s, {} prompts {:.3f} s, median ratio {:.3f}; beginning {:.1f} ms\n",
      images, steps, median(of_one), images, median(of_mixed), median(ratios), 1e3 * median(begins));
  for (const std::int64_t each : {std::int64_t{1}, images}) compare_texts(argv[1], pipeline, each, 4 * rounds);
  return 0;
}
