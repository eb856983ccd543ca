#include "diffusion/time_sampler.h"

#include <algorithm>
#include <vector>

#include "runtime/error.h"

namespace tessera {

TimeSampling time_sampling_from(const std::string& name) {
  if (name == "uniform") return TimeSampling::uniform;
  if (name == "importance") return TimeSampling::importance;
  fail("time sampling '{}': expected one of uniform, importance", name);
}

std::string name_of(TimeSampling sampling) {
  return sampling == TimeSampling::uniform ? "uniform" : "importance";
}

TimeSampler::TimeSampler(std::int64_t steps)
    : total_steps(steps),
      loss_history(torch::zeros({steps + 1})),
      bound_history(torch::zeros({steps + 1})),
      bound_count(torch::zeros({steps + 1})) {}

SampledTimes TimeSampler::sample(TimeSampling sampling, std::int64_t count, Seed seed, std::uint64_t first_row,
                                 std::uint32_t step) const {
  SampledTimes result{torch::empty({count}, torch::kInt64), torch::empty({count})};
  auto* times = result.t.data_ptr<std::int64_t>();
  auto* probabilities = result.p_t.data_ptr<float>();
  std::vector<double> cumulative;  // of t = 1..T
  if (sampling == TimeSampling::importance && warmed_up()) {
    const auto weights = importance_probabilities().to(torch::kFloat64);
    double sum = 0;
    for (std::int64_t t = 1; t <= total_steps; ++t) cumulative.push_back(sum += weights.data_ptr<double>()[t]);
  }
  for (std::int64_t row = 0; row < count; ++row) {
    const RandomStream stream(seed, Purpose::training_times, first_row + static_cast<std::uint64_t>(row), step);
    if (cumulative.empty()) {
      times[row] = 1 + static_cast<std::int64_t>(stream.below(0, static_cast<std::uint64_t>(total_steps)));
      probabilities[row] = 1.0F / static_cast<float>(total_steps);
      continue;
    }
    const double point = stream.uniform(0) * cumulative.back();
    const auto found = std::upper_bound(cumulative.begin(), cumulative.end() - 1, point);
    const double before = found == cumulative.begin() ? 0 : *(found - 1);
    times[row] = 1 + (found - cumulative.begin());
    probabilities[row] = static_cast<float>((*found - before) / cumulative.back());
  }
  return result;
}

void TimeSampler::update(const torch::Tensor& t, const TrainingLoss& losses) {
  const auto times = t.to(torch::kCPU).contiguous();
  const auto loss = losses.loss.detach().to(torch::kCPU, torch::kFloat32).contiguous();
  const auto vb = losses.vb.detach().to(torch::kCPU, torch::kFloat32).contiguous();
  const auto old_loss = loss_history.clone(), old_bound = bound_history.clone();
  for (std::int64_t row = 0; row < times.size(0); ++row) {
    const auto at = times.data_ptr<std::int64_t>()[row];
    require(at >= 0 && at <= total_steps, "time sampler: time step {}, expected 1 to {}", at, total_steps);
    const float bound = vb.data_ptr<float>()[row];
    loss_history.data_ptr<float>()[at] = 0.1F * loss.data_ptr<float>()[row] + 0.9F * old_loss.data_ptr<float>()[at];
    bound_history.data_ptr<float>()[at] = 0.1F * bound * bound + 0.9F * old_bound.data_ptr<float>()[at];
    bound_count.data_ptr<float>()[at] += 1;
  }
}

bool TimeSampler::warmed_up() const {
  // Entry 0 is never drawn by sample(); the original counts it too and its importance sampler never starts without it.
  return (bound_count.narrow(0, 1, total_steps) > 10).all().item<bool>();
}

torch::Tensor TimeSampler::importance_probabilities() const {
  auto weights = (bound_history + 1e-10).sqrt() + 1e-4;
  weights[0] = weights[1];
  return weights / weights.sum();
}

}  // namespace tessera
