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

class BoundObjective : public PriorObjective {
 public:
  explicit BoundObjective(const ObjectiveInput& input)
      : recipe_(input.recipe),
        scheduler_(process_config(recipe_.process, input.data.codebook_size, recipe_.total_steps)),
        chain_(make_process(scheduler_, input.data.codebook_size, recipe_.total_steps, input.data.codebook, "recipe")
                   .process),
        times_(recipe_.total_steps) {}

  torch::Tensor loss(PriorNetworks& networks, const torch::Tensor& x0, const ToldRows& told, std::int64_t step,
                     Metrics& metrics) override {
    const auto seed = static_cast<Seed>(recipe_.seed);
    const auto at = static_cast<std::uint32_t>(step);
    const auto times = times_.sample(time_sampling_from(recipe_.time_sampling), x0.size(0), seed, 0, at);
    const auto uniforms = uniform_rows(seed, Purpose::training_masks, 0, at, x0.size(0), x0.size(1));
    const auto xt = chain_->q_sample(x0, times.t, uniforms).tokens;
    const auto logits = networks.logits(xt, times.t, told);
    ObjectiveOptions options;
    options.auxiliary_weight = recipe_.auxiliary_weight;
    const auto device = logits.device();
    const auto terms = objective_sums(*chain_, options, x0.to(device), xt.to(device), logits, times.t, times.p_t);
    times_.update(times.t, {terms.loss, terms.bound});
    const auto bits = static_cast<double>(recipe_.total_steps) / (std::numbers::ln2 * static_cast<double>(x0.size(1)));
    metrics["bound"] = terms.bound.detach().mean().item<double>() * bits;
    return terms.mean();
  }

  GridLikelihood measure(PriorNetworks& networks, const torch::Tensor& x0, const ToldRows& told) const override {
    const LogitsOfTimes denoise = [&](const torch::Tensor& xt, const torch::Tensor& t, std::int64_t first) {
      return networks.logits(xt, t, told.slice(first, first + xt.size(0)));
    };
    return likelihood_of(estimate_process_bound(*chain_, denoise, x0, validation_bound(recipe_)).nats, x0.size(1));
  }

  std::int64_t total_steps() const override { return recipe_.total_steps; }
  std::shared_ptr<const Process> process() const override { return chain_; }
  nlohmann::json scheduler() const override { return scheduler_; }
  void save_state(TensorMap& into) const override { save_times(times_, into); }
  void load_state(const TensorMap& from) override { load_times(times_, from); }

 private:
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
