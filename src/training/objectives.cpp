#include "training/objectives.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "diffusion/likelihood.h"
#include "runtime/error.h"

namespace tessera {

// A file each.
ObjectiveEntry bound_objective();
ObjectiveEntry chain_objective();
ObjectiveEntry counted_objective();
ObjectiveEntry joint_objective();
ObjectiveEntry masked_objective();
ObjectiveEntry next_token_objective();

Registry<ObjectiveEntry>& objectives() {
  static Registry<ObjectiveEntry> registry(
      "objective", {counted_objective(), chain_objective(), joint_objective(), masked_objective(),
                    next_token_objective(), bound_objective()});
  return registry;
}

std::vector<std::string> condition_fields(const PriorRecipe& recipe) {
  if (recipe.condition == "none") return {};
  if (recipe.has_text())
    return {"null_rate", "keyword_rate", "text_width", "text_layers", "text_length", "text_merges"};
  return {"null_rate"};
}

const ObjectiveEntry& objective_of(const PriorRecipe& recipe) {
  for (const auto& entry : objectives().entries()) {
    if (entry.suits(recipe)) return entry;
  }
  throw UsageError(fmt::format("prior '{}' with process '{}' and condition '{}': no objective trains it", recipe.prior,
                               recipe.process, recipe.condition));
}

torch::Tensor nats_in_order(PriorNetworks& networks, const torch::Tensor& x0, const ToldRows& told,
                            std::int64_t batch) {
  const torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> nats;
  for (std::int64_t start = 0; start < x0.size(0); start += batch) {
    const auto part = x0.slice(0, start, std::min(start + batch, x0.size(0)));
    const auto logits = networks.logits_in_order(part, told.slice(start, start + part.size(0)));
    nats.push_back(autoregressive_nll(logits.to(torch::kCPU), part).to(torch::kFloat64));
  }
  return torch::cat(nats);
}

BoundOptions validation_bound(const PriorRecipe& recipe) {
  BoundOptions options;
  options.strata = recipe.validation_terms;
  options.seed = static_cast<Seed>(recipe.seed) + 1;
  options.batch = recipe.batch_size;
  return options;
}

GridLikelihood likelihood_of(const GridNats& measured, std::int64_t cells) {
  const auto each = measured.nats / std::numbers::ln2 / static_cast<double>(cells);
  GridLikelihood likelihood;
  likelihood.bits_per_token = each.mean().item<double>();
  if (each.size(0) > 1)
    likelihood.standard_error = each.std().item<double>() / std::sqrt(static_cast<double>(each.size(0)));
  likelihood.bits_by_share = bits_by_share(measured.share_sums);
  return likelihood;
}

}  // namespace tessera
