#include "training/prior_networks.h"

#include "nn/layers.h"
#include "runtime/error.h"

namespace tessera {

// A file each.
MadeNetworks make_plain_networks(const PriorNetworksInput& input);
MadeNetworks make_conditional_networks(const PriorNetworksInput& input);

torch::Tensor PriorNetworks::logits_in_order(const torch::Tensor&, const ToldRows&) {
  fail("prior: found a bidirectional network, expected an autoregressive one");
}

void PriorNetworks::load(const TensorMap& tensors) {
  const torch::NoGradGuard no_grad;
  for (auto& item : parameters()) {
    const auto found = tensors.find(item.key());
    require(found != tensors.end() && found->second.sizes() == item.value().sizes(),
            "training state: '{}' is missing or has another shape", item.key());
    item.value().copy_(found->second);
  }
}

std::int64_t PriorNetworks::parameter_count() const {
  std::int64_t count = 0;
  for (const auto& item : parameters()) count += item.value().numel();
  return count;
}

std::vector<std::string> products_of(torch::nn::Module& module, const std::string& prefix) {
  const auto packed = packed_by_weight(module);
  std::vector<std::string> names;
  for (const auto& item : module.named_parameters()) {
    if (packed.count(item.value().unsafeGetTensorImpl()) && item.value().dim() == 2)
      names.push_back(prefix + item.key());
  }
  return names;
}

MadeNetworks make_prior_networks(const PriorNetworksInput& input) {
  require(input.start == nullptr || input.start->denoiser.has_value(),
          "start_from: {}: the bundle holds no prior (transformer/)", input.recipe.start_from);
  return input.recipe.sees_time() ? make_conditional_networks(input) : make_plain_networks(input);
}

}  // namespace tessera
