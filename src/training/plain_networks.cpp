/// The transformer that sees no time in training: bidirectional, or autoregressive and perhaps told something.
#include "denoiser/transformer.h"
#include "training/codec_trainer.h"
#include "training/prior_conditioner.h"

namespace tessera {
namespace {

class PlainNetworks : public PriorNetworks {
 public:
  PlainNetworks(Transformer network, PriorConditioner conditioner)
      : network_(std::move(network)), conditioner_(std::move(conditioner)) {}

  Parameters parameters() const override {
    auto all = network_->named_parameters();
    conditioner_.add_parameters(all);
    return all;
  }
  std::vector<std::string> products() const override {
    auto names = products_of(*network_.ptr(), "");
    conditioner_.add_products(names);
    return names;
  }
  void to(torch::Device device) override {
    network_->to(device);
    conditioner_.to(device);
  }
  void train(bool training) override { network_->train(training); }
  void seed_dropout(std::uint64_t bits) override { network_->seed_dropout(bits); }
  torch::Tensor logits(const torch::Tensor& tokens, const torch::Tensor&, const ToldRows&,
                       const torch::Tensor& rows) override {
    return rows.defined() ? network_->logits_at(tokens, rows) : network_->forward(tokens);
  }
  torch::Tensor logits_in_order(const torch::Tensor& tokens, const ToldRows& told) override {
    if (!network_->is_autoregressive()) return PriorNetworks::logits_in_order(tokens, told);
    return network_->forward(tokens.slice(1, 0, tokens.size(1) - 1), conditioner_.batch_of(told));
  }
  std::shared_ptr<Denoiser> denoiser() override { return network_.ptr(); }
  std::vector<Condition> conditions(const ToldRows& told) override { return conditioner_.conditions(told); }
  void put_into(Bundle& bundle) const override {
    bundle.denoiser = BundlePart{network_->options().to_config(), network_->state()};
    conditioner_.put_into(bundle);
  }

 private:
  Transformer network_;
  PriorConditioner conditioner_;
};

TransformerOptions transformer_options(const PriorRecipe& recipe, const TokenData& data) {
  TransformerOptions options;
  options.kind = recipe.is_autoregressive() ? TransformerKind::autoregressive : TransformerKind::bidirectional;
  options.codebook_size = data.codebook_size;
  options.grid = {data.train.size(1), data.train.size(2)};
  options.layers = recipe.layers;
  options.heads = recipe.heads;
  options.width = recipe.width;
  options.dropout = recipe.dropout;
  options.attention_block = recipe.attention_block;
  options.classes = recipe.has_classes() ? data.conditions.classes : 0;
  options.condition_width = recipe.has_text() ? recipe.text_width : 0;
  options.condition_length = recipe.has_text() ? recipe.text_length : 0;
  options.validate();
  return options;
}

}  // namespace

MadeNetworks make_plain_networks(const PriorNetworksInput& input) {
  const auto& recipe = input.recipe;
  const auto start = recipe.initialisation == "framework" ? Initialisation::framework : Initialisation::small_normal;
  const auto options = transformer_options(recipe, input.data);
  Transformer trained(options, start, static_cast<Seed>(recipe.seed)), average(options, Initialisation::none);
  PriorConditioner conditioner(input), averaged(input);
  conditioner.initialise(static_cast<Seed>(recipe.seed));
  if (input.start) {
    auto weights = trained->state();
    take_weights(weights, *input.start->denoiser, recipe.start_from);
    trained->load(weights, recipe.start_from);
    conditioner.begin_from(*input.start, recipe.start_from);
  }
  average->eval();
  for (auto network : {trained, average}) network->set_precision(training_precision(recipe.precision, input.device));
  return {std::make_unique<PlainNetworks>(trained, std::move(conditioner)),
          std::make_unique<PlainNetworks>(average, std::move(averaged))};
}

}  // namespace tessera
