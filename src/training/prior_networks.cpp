#include "training/prior_networks.h"

#include "nn/layers.h"
#include "runtime/error.h"
#include "runtime/log.h"
#include "training/take_matching.h"

namespace tessera {

// A file each.
MadeNetworks make_plain_networks(const PriorNetworksInput& input);
MadeNetworks make_conditional_networks(const PriorNetworksInput& input);
TrainedPriorEntry pixel_cnn_prior();
TrainedPriorEntry image_bart_prior();
TrainedPriorEntry code_frequencies_prior();
TrainedPriorEntry joint_prior();

namespace {

/// VQ-Diffusion's T, published.
constexpr std::int64_t kStepsOfTimes = 100;

bool transformer_sees_time(const PriorRecipe& recipe) {
  return recipe.process != default_process().name || recipe.condition != "none";
}

TrainedPriorEntry diffusion_prior() {
  TrainedPriorEntry entry;
  entry.name = default_process().name;
  entry.help = "a transformer that reverses the process: absorbing diffusion, or the one that `process` names";
  entry.total_steps = kStepsOfTimes;
  entry.conditions = {"none", "text", "class"};
  entry.sees_time = transformer_sees_time;
  entry.make = [](const PriorNetworksInput& input) {
    return input.recipe.sees_time() ? make_conditional_networks(input) : make_plain_networks(input);
  };
  return entry;
}

TrainedPriorEntry autoregressive_prior() {
  TrainedPriorEntry entry;
  entry.name = kAutoregressive;
  entry.help = "a causal transformer, cell by cell";
  entry.in_order = true;
  entry.conditions = {"none", "text", "class"};
  entry.make = make_plain_networks;
  return entry;
}

}  // namespace

Registry<TrainedPriorEntry>& trained_priors() {
  static Registry<TrainedPriorEntry> registry("prior", {diffusion_prior(), autoregressive_prior(), pixel_cnn_prior(),
                                                        image_bart_prior(), joint_prior(), code_frequencies_prior()});
  return registry;
}

torch::Tensor PriorNetworks::logits_in_order(const torch::Tensor&, const ToldRows&) {
  fail("prior: found a bidirectional network, expected an autoregressive one");
}

torch::Tensor PriorNetworks::sequence_logits(const torch::Tensor&, const torch::Tensor&, const torch::Tensor&) {
  fail("prior: found another network, expected one that reads words and codes in one sequence");
}

torch::Tensor PriorNetworks::step_logits(const StepLook&, const torch::Tensor&, const ToldRows&) {
  fail("prior: found another network, expected one that decodes time steps cell by cell");
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

void take_weights(TensorMap& parameters, const BundlePart& given, const std::string& where) {
  const auto taken = take_matching(parameters, given.tensors);
  require(taken.taken > 0, "start_from: {}: none of its {} tensors fits this prior", where, given.tensors.size());
  log().info("prior: {}", taken.text(where));
}

MadeNetworks make_prior_networks(const PriorNetworksInput& input) {
  require(input.start == nullptr || input.start->denoiser.has_value(),
          "start_from: {}: the bundle holds no prior (transformer/)", input.recipe.start_from);
  return trained_priors().at(input.recipe.prior).make(input);
}

}  // namespace tessera
