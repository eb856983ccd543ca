/// The variational bound of any process, with the auxiliary cross-entropy of x_0. Gu et al., arXiv:2111.14822, section
/// 4.2 and eq. 9 to 11.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <numbers>

#include "diffusion/objective.h"
#include "diffusion/time_sampler.h"
#include "training/objectives.h"
#include "training/time_sampler_state.h"

namespace tessera {
namespace {

constexpr std::uint32_t kWholeMaskCell = 1;  // of a row's stream; the time itself is drawn by cell 0

class BoundObjective : public PriorObjective {
 public:
  explicit BoundObjective(const ObjectiveInput& input)
      : recipe_(input.recipe),
        scheduler_(process_config(recipe_.process, input.data.codebook_size, recipe_.total_steps)),
        chain_(make_process(scheduler_, input.data.codebook_size, recipe_.total_steps, input.data.codebook, "recipe")
                   .process),
        times_(recipe_.total_steps) {}

  Loss loss(PriorNetworks& networks, const torch::Tensor& x0, const ToldRows& told, const BatchRows& part,
            Metrics& metrics) override {
    const auto seed = static_cast<Seed>(recipe_.seed);
    const auto at = static_cast<std::uint32_t>(part.step);
    const auto first = static_cast<std::uint64_t>(part.first);
    auto times = times_.sample(time_sampling_from(recipe_.time_sampling), x0.size(0), seed, first, at);
    mask_wholly(times, seed, first, part.step);
    const auto uniforms = uniform_rows(seed, Purpose::training_masks, first, at, x0.size(0), x0.size(1));
    const auto xt = chain_->q_sample(x0, times.t, uniforms).tokens;
    const auto logits = networks.logits(xt, times.t, told);
    ObjectiveOptions options;
    options.auxiliary_weight = recipe_.auxiliary_weight;
    const auto device = logits.device();
    const auto terms = objective_sums(*chain_, options, x0.to(device), xt.to(device), logits, times.t, times.p_t);
    const auto bits = static_cast<double>(recipe_.total_steps) / (std::numbers::ln2 * static_cast<double>(x0.size(1)));
    metrics["bound"] = terms.bound.detach().mean().item<double>() * bits;
    return {terms.mean(), seen_times(times.t, {terms.loss, terms.bound})};
  }
  void after_step(const torch::Tensor& seen) override { update_times(times_, seen); }

  GridNats measure(PriorNetworks& networks, const torch::Tensor& x0, const ToldRows& told,
                   std::int64_t first_grid) const override {
    const LogitsOfTimes denoise = [&](const torch::Tensor& xt, const torch::Tensor& t, std::int64_t first) {
      return networks.logits(xt, t, told.slice(first, first + xt.size(0)));
    };
    const auto first = static_cast<std::uint64_t>(first_grid);
    return {estimate_process_bound(*chain_, denoise, x0, validation_bound(recipe_), first).nats, {}};
  }

  std::int64_t total_steps() const override { return recipe_.total_steps; }
  std::shared_ptr<const Process> process() const override { return chain_; }
  nlohmann::json scheduler() const override { return scheduler_; }
  void save_state(TensorMap& into) const override { save_times(times_, into); }
  void load_state(const TensorMap& from) override { load_times(times_, from); }

 private:
  /// Some rows go to the last time, with the weight that they have there when times are drawn uniformly: no correction
  /// for drawing them so often, which would take back what they are for.
  void mask_wholly(SampledTimes& times, Seed seed, std::uint64_t first, std::int64_t step) const {
    const double rate = step < recipe_.whole_mask_steps ? 1 : recipe_.whole_mask_rate;
    if (rate == 0) return;
    for (std::int64_t row = 0; row < times.t.size(0); ++row) {
      const RandomStream stream(seed, Purpose::training_times, first + static_cast<std::uint64_t>(row),
                                static_cast<std::uint32_t>(step));
      if (stream.uniform(kWholeMaskCell) >= rate) continue;
      times.t[row] = recipe_.total_steps;
      times.p_t[row] = 1.0 / static_cast<double>(recipe_.total_steps);
    }
  }

  PriorRecipe recipe_;
  nlohmann::json scheduler_;
  std::shared_ptr<const Process> chain_;
  TimeSampler times_;
};

std::string called(const PriorRecipe& recipe) {
  return recipe.condition == "none"
             ? fmt::format("the prior of process {}", recipe.process)
             : fmt::format("the prior of process {} with condition {}", recipe.process, recipe.condition);
}

std::vector<std::string> fields_of_bound(const PriorRecipe& recipe) {
  std::vector<std::string> fields = {"process", "time_sampling", "total_steps", "validation_terms", "auxiliary_weight"};
  for (const auto& name : condition_fields(recipe)) fields.push_back(name);
  if (recipe.condition != "none") fields.insert(fields.end(), {"whole_mask_rate", "whole_mask_steps"});
  return fields;
}

}  // namespace

ObjectiveEntry bound_objective() {
  return {"bound",
          "the variational bound of a process whose time the network sees",
          [](const PriorRecipe& recipe) { return recipe.sees_time(); },
          called,
          fields_of_bound,
          [](const ObjectiveInput& input) -> std::unique_ptr<PriorObjective> {
            return std::make_unique<BoundObjective>(input);
          }};
}

}  // namespace tessera
