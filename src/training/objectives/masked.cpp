/// Un-masking without times: the reweighted bound, the bound or the cross-entropy of masked cells. Bond-Taylor et al.,
/// arXiv:2111.12701, section 3.2.
#include <nlohmann/json.hpp>

#include "diffusion/absorbing.h"
#include "diffusion/time_sampler.h"
#include "training/objectives.h"
#include "training/time_sampler_state.h"

namespace tessera {
namespace {

class MaskedObjective : public PriorObjective {
 public:
  explicit MaskedObjective(const ObjectiveInput& input)
      : recipe_(input.recipe),
        chain_(input.data.codebook_size, recipe_.total_steps, mask_schedule_from(recipe_.mask_schedule)),
        times_(recipe_.total_steps) {}

  torch::Tensor loss(PriorNetworks& networks, const torch::Tensor& x0, const ToldRows& told, std::int64_t step,
                     Metrics& metrics) override {
    const auto seed = static_cast<Seed>(recipe_.seed);
    const auto at = static_cast<std::uint32_t>(step);
    const auto times = times_.sample(time_sampling_from(recipe_.time_sampling), x0.size(0), seed, 0, at);
    const auto noised = chain_.q_sample(x0, times.t, seed, 0, at);
    const auto rows = rows_of(noised.changed);
    const auto logits = networks.logits(noised.tokens, times.t, told, rows).to(torch::kFloat32);
    const auto losses = training_loss(loss_kind_from(recipe_.loss), masked_cross_entropy_at(logits, x0, rows),
                                      noised.changed, times.t, times.p_t, recipe_.total_steps);
    times_.update(times.t, losses);
    metrics["bound"] = losses.vb.detach().mean().item<double>();
    return losses.mean();
  }

  GridLikelihood measure(PriorNetworks& networks, const torch::Tensor& x0, const ToldRows&) const override {
    const LogitsAt denoise = [&](const torch::Tensor& tokens, const torch::Tensor& rows) {
      return networks.logits(tokens, {}, {}, rows);
    };
    const auto estimate = estimate_bound(chain_, denoise, x0, validation_bound(recipe_));
    auto likelihood = likelihood_of(estimate.nats, x0.size(1));
    likelihood.bits_by_share = estimate.bits_by_share_masked;
    return likelihood;
  }

  std::int64_t total_steps() const override { return recipe_.total_steps; }
  nlohmann::json scheduler() const override {
    return {{"_class_name", processes().at(recipe_.process).class_name},
            {"tessera",
             {{"format", 1},
              {"process", recipe_.process},
              {"total_steps", recipe_.total_steps},
              {"mask_schedule", recipe_.mask_schedule}}}};
  }
  std::vector<double> loss_by_time() const override {
    const auto history = times_.loss_history.contiguous();
    return {history.data_ptr<float>() + 1, history.data_ptr<float>() + history.numel()};
  }
  void save_state(TensorMap& into) const override { save_times(times_, into); }
  void load_state(const TensorMap& from) override { load_times(times_, from); }

 private:
  PriorRecipe recipe_;
  AbsorbingProcess chain_;
  TimeSampler times_;
};

std::vector<std::string> fields_of_masked(const PriorRecipe&) {
  return {"prior",         "process",       "initialisation", "loss",
          "mask_schedule", "time_sampling", "total_steps",    "validation_terms"};
}

}  // namespace

ObjectiveEntry masked_objective() {
  return {"mask-prediction",
          "the codes of masked cells, by the losses of absorbing diffusion",
          [](const PriorRecipe& recipe) { return !recipe.sees_time() && !recipe.is_autoregressive(); },
          [](const PriorRecipe& recipe) { return "the " + recipe.prior + " prior without a condition"; },
          fields_of_masked,
          [](const ObjectiveInput& input) -> std::unique_ptr<PriorObjective> {
            return std::make_unique<MaskedObjective>(input);
          }};
}

}  // namespace tessera
