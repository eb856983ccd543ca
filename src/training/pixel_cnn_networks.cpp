/// The Gated PixelCNN in training, told a class or nothing. Van den Oord et al., arXiv:1606.05328; as a prior over
/// codes: arXiv:1711.00937, section 3.3.
#include "denoiser/pixel_cnn.h"
#include "runtime/error.h"
#include "training/prior_conditioner.h"

namespace tessera {
namespace {

class PixelCnnNetworks : public PriorNetworks {
 public:
  PixelCnnNetworks(PixelCnn network, PriorConditioner conditioner)
      : network_(std::move(network)), conditioner_(std::move(conditioner)) {}

  Parameters parameters() const override { return network_->named_parameters(); }
  std::vector<std::string> products() const override { return {}; }  // convolutions alone
  void to(torch::Device device) override { network_->to(device); }
  void train(bool training) override { network_->train(training); }
  void seed_dropout(std::uint64_t bits) override { network_->seed_dropout(bits); }
  torch::Tensor logits(const torch::Tensor&, const torch::Tensor&, const ToldRows&, const torch::Tensor&) override {
    fail("pixelcnn: it sees the cells before alone, expected a bidirectional network");
  }
  torch::Tensor logits_in_order(const torch::Tensor& tokens, const ToldRows& told) override {
    return network_->forward(tokens, conditioner_.batch_of(told).classes);
  }
  std::shared_ptr<Denoiser> denoiser() override { return network_.ptr(); }
  std::vector<Condition> conditions(const ToldRows& told) override { return conditioner_.conditions(told); }
  void put_into(Bundle& bundle) const override {
    bundle.denoiser = BundlePart{network_->options().to_config(), network_->state()};
  }

 private:
  PixelCnn network_;
  PriorConditioner conditioner_;
};

MadeNetworks make_pixel_cnn_networks(const PriorNetworksInput& input) {
  const auto& recipe = input.recipe;
  PixelCnnOptions options;
  options.codebook_size = input.data.codebook_size;
  options.grid = {input.data.train.size(1), input.data.train.size(2)};
  options.layers = recipe.layers;
  options.width = recipe.width;
  options.classes = recipe.has_classes() ? input.data.conditions.classes : 0;
  options.dropout = recipe.dropout;
  PixelCnn trained(options), average(options);
  trained->initialise(static_cast<Seed>(recipe.seed));
  if (input.start) {
    auto weights = trained->state();
    take_weights(weights, *input.start->denoiser, recipe.start_from);
    trained->load_weights(weights, recipe.start_from, WeightLoading::copy);
  }
  average->eval();
  return {std::make_unique<PixelCnnNetworks>(trained, PriorConditioner(input)),
          std::make_unique<PixelCnnNetworks>(average, PriorConditioner(input))};
}

}  // namespace

TrainedPriorEntry pixel_cnn_prior() {
  TrainedPriorEntry entry;
  entry.name = "pixelcnn";
  entry.help = "masked convolutions, cell by cell";
  entry.in_order = true;
  entry.conditions = {"none", "class"};
  entry.unused = {"heads", "initialisation", "precision"};  // its convolutions compute in float32
  entry.make = make_pixel_cnn_networks;
  return entry;
}

}  // namespace tessera
