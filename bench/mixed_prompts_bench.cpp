// Images under as many prompts against as many under one: seconds of a fill, in pairs, and their median ratio; and what
// beginning a run (keys and values of its texts) costs.
// usage: bench_mixed_prompts BUNDLE [images] [steps] [rounds]
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <vector>

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
  return 0;
}
