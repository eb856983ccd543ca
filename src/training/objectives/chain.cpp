/// The bound of a short chain that redraws codes and goes back cell by cell: every grid at every step of it. Esser et
/// al., "ImageBART", arXiv:2108.08827, section 3.2 (there a training for each step; the expectation over x_{t-1} of a
/// cell is taken in closed form, as their loss's divergence does).
#include <nlohmann/json.hpp>
#include <numbers>

#include "diffusion/redraw.h"
#include "metrics/prior_likelihood.h"
#include "sampling/step_look.h"
#include "training/objectives.h"

namespace tessera {
namespace {

class ChainObjective : public PriorObjective {
 public:
  explicit ChainObjective(const ObjectiveInput& input)
      : recipe_(input.recipe),
        scheduler_(process_config(kRedrawProcess, input.data.codebook_size, recipe_.total_steps)) {
    scheduler_["tessera"]["kept"] = kept_by(redraw_schedule(recipe_.chain_schedule, recipe_.total_steps));
    chain_ = make_process(scheduler_, input.data.codebook_size, recipe_.total_steps, {}, "recipe").process;
  }

  Loss loss(PriorNetworks& networks, const torch::Tensor& x0, const ToldRows& told, const BatchRows& part,
            Metrics&) override {
    const auto uniforms =
        uniform_rows(static_cast<Seed>(recipe_.seed), Purpose::training_masks, static_cast<std::uint64_t>(part.first),
                     static_cast<std::uint32_t>(part.step), x0.size(0), uniforms_of_bound(total_steps()) * x0.size(1));
    const StepLogits logits = [&](const torch::Tensor& xt, const torch::Tensor& before, std::int64_t time) {
      return networks.step_logits(step_look(*chain_, xt, time), before, told).to(torch::kFloat32);
    };
    const auto terms = redraw_bound_terms(*chain_, logits, x0, uniforms);
    return {terms.sum() / (std::numbers::ln2 * static_cast<double>(x0.numel())), {}};
  }

  GridNats measure(PriorNetworks& networks, const torch::Tensor& x0, const ToldRows& told,
                   std::int64_t first_grid) const override {
    const ChainLogits logits = [&](const torch::Tensor& xt, const torch::Tensor& before, std::int64_t time,
                                   std::int64_t first) {
      return networks.step_logits(step_look(*chain_, xt, time), before, told.slice(first, first + xt.size(0)));
    };
    const auto first = static_cast<std::uint64_t>(first_grid);
    return {estimate_chain_bound(*chain_, logits, x0, validation_bound(recipe_), first).nats, {}};
  }

  std::int64_t total_steps() const override { return recipe_.total_steps; }
  std::shared_ptr<const Process> process() const override { return chain_; }
  nlohmann::json scheduler() const override { return scheduler_; }

 private:
  PriorRecipe recipe_;
  nlohmann::json scheduler_;
  std::shared_ptr<const Process> chain_;
};

std::vector<std::string> fields_of_chain(const PriorRecipe& recipe) {
  std::vector<std::string> fields = {"prior", "total_steps", "chain_schedule"};
  for (const auto& name : condition_fields(recipe)) fields.push_back(name);
  return fields;
}

}  // namespace

ObjectiveEntry chain_objective() {
  return {"chain-bound",
          "the codes of each step of a short chain, cell by cell",
          [](const PriorRecipe& recipe) { return recipe.prior == "imagebart"; },
          [](const PriorRecipe& recipe) {
            return recipe.condition == "none" ? "the imagebart prior"
                                              : "the imagebart prior with condition " + recipe.condition;
          },
          fields_of_chain,
          [](const ObjectiveInput& input) -> std::unique_ptr<PriorObjective> {
            return std::make_unique<ChainObjective>(input);
          }};
}

}  // namespace tessera
