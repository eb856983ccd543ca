/// VQ-Diffusion's denoiser in training, with text (its encoder trained along) or class labels. Gu et al.,
/// arXiv:2111.14822, section 4.2; the learned null condition: Tang et al., arXiv:2205.16007, section 3.1.
#include "denoiser/conditional_start.h"
#include "denoiser/guided_denoiser.h"
#include "denoiser/networks.h"
#include "runtime/error.h"
#include "training/codec_trainer.h"
#include "training/prior_conditioner.h"

namespace tessera {
namespace {

class ConditionalNetworks : public PriorNetworks {
 public:
  explicit ConditionalNetworks(const PriorNetworksInput& input);

  Parameters parameters() const override;
  std::vector<std::string> products() const override;
  void to(torch::Device device) override;
  void train(bool training) override { network_->train(training); }
  void seed_dropout(std::uint64_t bits) override { network_->seed_dropout(bits); }
  torch::Tensor logits(const torch::Tensor& tokens, const torch::Tensor& times, const ToldRows& told,
                       const torch::Tensor& rows) override {
    return network_->forward(tokens, times, conditioner_.batch_of(told), rows);
  }
  std::shared_ptr<Denoiser> denoiser() override { return std::make_shared<GuidedDenoiser>(network_); }
  std::vector<Condition> conditions(const ToldRows& told) override { return conditioner_.conditions(told); }
  void put_into(Bundle& bundle) const override;

  void initialise(Seed seed);
  void begin_from(const Bundle& start, const std::string& where);

 private:
  ConditionalTransformer network_;
  PriorConditioner conditioner_;
};

/// Whether a bundle's prior is of this network.
bool is_of_this_network(const Bundle& bundle) {
  return network_facts(bundle.denoiser->config, "start_from").sees_time();
}

ConditionalOptions conditional_options(const PriorNetworksInput& input) {
  const auto& recipe = input.recipe;
  ConditionalOptions options;
  options.codebook_size = input.data.codebook_size;
  options.grid = {input.data.train.size(1), input.data.train.size(2)};
  options.layers = recipe.layers;
  options.heads = recipe.heads;
  require(recipe.width % recipe.heads == 0, "recipe: width {}, expected a multiple of heads ({})", recipe.width,
          recipe.heads);
  options.head_width = recipe.width / recipe.heads;
  options.total_steps = recipe.total_steps;
  options.condition_width = recipe.has_text() ? recipe.text_width : 0;
  options.classes = recipe.has_classes() ? input.data.conditions.classes : 0;
  options.dropout = recipe.dropout;
  // The exact GELU is part of the product before it (linear_gelu); the published x sigmoid(1.702 x) is passes of its
  // own.
  options.exact_gelu = !input.start || !is_of_this_network(*input.start) ||
                       ConditionalOptions::from_config(input.start->denoiser->config).exact_gelu;
  return options;
}

ConditionalNetworks::ConditionalNetworks(const PriorNetworksInput& input)
    : network_(conditional_options(input)), conditioner_(input) {
  network_->set_precision(training_precision(input.recipe.precision, input.device));
}

void ConditionalNetworks::initialise(Seed seed) {
  network_->initialise(seed);
  conditioner_.initialise(seed);
}

void ConditionalNetworks::begin_from(const Bundle& start, const std::string& where) {
  const auto& given = *start.denoiser;
  if (!is_of_this_network(start)) {
    start_from_prior(network_, TransformerOptions::from_config(given.config), given.tensors, where);
    return;
  }
  auto weights = network_->state();
  take_weights(weights, given, where);
  network_->load(weights, where);
  conditioner_.begin_from(start, where);
}

PriorNetworks::Parameters ConditionalNetworks::parameters() const {
  Parameters all;
  for (const auto& item : network_->named_parameters()) all.insert("denoiser." + item.key(), item.value());
  conditioner_.add_parameters(all);
  return all;
}

std::vector<std::string> ConditionalNetworks::products() const {
  auto names = products_of(*network_.ptr(), "denoiser.");
  conditioner_.add_products(names);
  return names;
}

void ConditionalNetworks::to(torch::Device device) {
  network_->to(device);
  conditioner_.to(device);
}

void ConditionalNetworks::put_into(Bundle& bundle) const {
  bundle.denoiser = BundlePart{network_->options().to_config(), network_->state()};
  conditioner_.put_into(bundle);
}

}  // namespace

MadeNetworks make_conditional_networks(const PriorNetworksInput& input) {
  auto trained = std::make_unique<ConditionalNetworks>(input), average = std::make_unique<ConditionalNetworks>(input);
  trained->initialise(static_cast<Seed>(input.recipe.seed));
  if (input.start) trained->begin_from(*input.start, input.recipe.start_from);
  average->train(false);
  return {std::move(trained), std::move(average)};
}

}  // namespace tessera
