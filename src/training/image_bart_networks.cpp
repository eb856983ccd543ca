/// ImageBART's networks in training, one for each step of a short chain, told a class or nothing. Esser et al.,
/// arXiv:2108.08827, section 3.2.
#include "denoiser/image_bart.h"

#include <algorithm>

#include "runtime/error.h"
#include "training/codec_trainer.h"
#include "training/prior_conditioner.h"

namespace tessera {
namespace {

constexpr std::int64_t kStepsOfChain = 3;

class ImageBartNetworks : public PriorNetworks {
 public:
  ImageBartNetworks(ImageBart network, PriorConditioner conditioner)
      : network_(std::move(network)), conditioner_(std::move(conditioner)) {}

  Parameters parameters() const override { return network_->named_parameters(); }
  std::vector<std::string> products() const override { return products_of(*network_.ptr(), ""); }
  void to(torch::Device device) override { network_->to(device); }
  void train(bool training) override { network_->train(training); }
  void seed_dropout(std::uint64_t) override {}
  torch::Tensor logits(const torch::Tensor&, const torch::Tensor&, const ToldRows&, const torch::Tensor&) override {
    fail("imagebart: it goes back in time cell by cell, expected a network that predicts open cells");
  }
  torch::Tensor step_logits(const StepLook& look, const torch::Tensor& before, const ToldRows& told) override {
    return network_->step_logits(look, before, conditioner_.batch_of(told).classes);
  }
  std::shared_ptr<Denoiser> denoiser() override { return network_.ptr(); }
  std::vector<Condition> conditions(const ToldRows& told) override { return conditioner_.conditions(told); }
  void put_into(Bundle& bundle) const override {
    bundle.denoiser = BundlePart{network_->options().to_config(), network_->state()};
  }

 private:
  ImageBart network_;
  PriorConditioner conditioner_;
};

/// A decoder of `layers` for each step, before the last an encoder of as many that reads x_t, and the step itself added
/// to the logits (the published residual form).
ImageBartOptions image_bart_options(const PriorRecipe& recipe, const TokenData& data) {
  require(recipe.width % recipe.heads == 0, "recipe: width {}, expected a multiple of heads ({})", recipe.width,
          recipe.heads);
  ImageBartOptions options;
  options.codebook_size = data.codebook_size;
  options.grid = {data.train.size(1), data.train.size(2)};
  options.classes = recipe.has_classes() ? data.conditions.classes : 0;
  for (std::int64_t t = 1; t <= recipe.total_steps; ++t) {
    ScaleOptions scale;
    scale.width = recipe.width;
    scale.head_width = recipe.width / recipe.heads;
    scale.vocabulary = std::max({options.codebook_size, options.classes, recipe.total_steps + 1});
    scale.decoder_layers = recipe.layers;
    scale.decoder_heads = recipe.heads;
    if (t < recipe.total_steps) {
      scale.encoder_layers = recipe.layers;
      scale.encoder_heads = recipe.heads;
      scale.residual = true;
    }
    options.scales.push_back(scale);
  }
  return options;
}

MadeNetworks make_image_bart_networks(const PriorNetworksInput& input) {
  const auto& recipe = input.recipe;
  const auto options = image_bart_options(recipe, input.data);
  ImageBart trained(options), average(options);
  trained->initialise(static_cast<Seed>(recipe.seed));
  if (input.start) {
    auto weights = trained->state();
    take_weights(weights, *input.start->denoiser, recipe.start_from);
    trained->load_weights(weights, recipe.start_from, WeightLoading::copy);
  }
  average->eval();
  for (auto network : {trained, average}) network->set_precision(training_precision(recipe.precision, input.device));
  return {std::make_unique<ImageBartNetworks>(trained, PriorConditioner(input)),
          std::make_unique<ImageBartNetworks>(average, PriorConditioner(input))};
}

}  // namespace

TrainedPriorEntry image_bart_prior() {
  TrainedPriorEntry entry;
  entry.name = "imagebart";
  entry.help = "a causal transformer for each step of a short chain that redraws codes";
  entry.total_steps = kStepsOfChain;
  entry.conditions = {"none", "class"};
  entry.unused = {"dropout", "initialisation"};
  entry.sees_time = [](const PriorRecipe&) { return true; };
  entry.make = make_image_bart_networks;
  return entry;
}

}  // namespace tessera
