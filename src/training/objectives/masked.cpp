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

  Loss loss(PriorNetworks& networks, const torch::Tensor& x0, const ToldRows& told, const BatchRows& part,
            Metrics& metrics) override {
    const auto seed = static_cast<Seed>(recipe_.seed);
    const auto at = static_cast<std::uint32_t>(part.step);
    const auto first = static_cast<std::uint64_t>(part.first);
    const auto times = times_.sample(time_sampling_from(recipe_.time_sampling), x0.size(0), seed, first, at);
    const auto noised = chain_.q_sample(x0, times.t, seed, first, at);
    const auto rows = rows_of(noised.changed);
    const auto logits = networks.logits(noised.tokens, times.t, told, rows).to(torch::kFloat32);
    const auto losses = training_loss(loss_kind_from(recipe_.loss), masked_cross_entropy_at(logits, x0, rows),
                                      noised.changed, times.t, times.p_t, recipe_.total_steps);
    metrics["bound"] = losses.vb.detach().mean().item<double>();
    return {losses.mean(), seen_times(times.t, losses)};
  }
  void after_step(const torch::Tensor& seen) override { update_times(times_, seen); }

  GridNats measure(PriorNetworks& networks, const torch::Tensor& x0, const ToldRows& told,
                   std::int64_t first) const override {
    if (told.is_told()) return measure_each(networks, x0, told, first);
    const auto estimate = estimated(networks, x0, {}, static_cast<std::uint64_t>(first));
    return {estimate.nats, estimate.share_sums};
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
  /// In: what the grid is told that all rows are of; nothing: they are of several that are told nothing.
  BoundEstimate estimated(PriorNetworks& networks, const torch::Tensor& x0, const ToldRows& told,
                          std::uint64_t first_image) const {
    const LogitsAt denoise = [&](const torch::Tensor& tokens, const torch::Tensor& rows) {
      return networks.logits(tokens, {}, told.repeated(tokens.size(0)), rows);
    };
    return estimate_bound(chain_, denoise, x0, validation_bound(recipe_), first_image);
  }
  /// One grid at a time: an estimate does not say which of its grids a row is of.
  GridNats measure_each(PriorNetworks& networks, const torch::Tensor& x0, const ToldRows& told,
                        std::int64_t first) const {
    std::vector<torch::Tensor> nats;
    for (std::int64_t i = 0; i < x0.size(0); ++i) {
      const auto image = static_cast<std::uint64_t>(first + i);
      nats.push_back(estimated(networks, x0.narrow(0, i, 1), told.slice(i, i + 1), image).nats);
    }
    return {torch::cat(nats), {}};
  }

  PriorRecipe recipe_;
  AbsorbingProcess chain_;
  TimeSampler times_;
};

std::vector<std::string> fields_of_masked(const PriorRecipe&) {
  return {"prior",         "process",     "initialisation",   "loss",           "mask_schedule",
          "time_sampling", "total_steps", "validation_terms", "attention_block"};
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
