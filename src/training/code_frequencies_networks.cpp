/// Code frequencies, counted in the training grids: what every other prior is measured against first.
#include "denoiser/code_frequencies.h"
#include "runtime/error.h"
#include "training/prior_networks.h"

namespace tessera {
namespace {

constexpr double kSmoothing = 1;  // added to each count: a code that the training grids lack is possible elsewhere

class CodeFrequenciesNetworks : public PriorNetworks {
 public:
  explicit CodeFrequenciesNetworks(CodeFrequencies network) : network_(std::move(network)) {}

  Parameters parameters() const override { return Parameters(); }  // nothing is learned by steps
  std::vector<std::string> products() const override { return {}; }
  void to(torch::Device device) override { network_->to(device); }
  void train(bool training) override { network_->train(training); }
  void seed_dropout(std::uint64_t) override {}
  torch::Tensor logits(const torch::Tensor& tokens, const torch::Tensor&, const ToldRows&,
                       const torch::Tensor& rows) override {
    const auto all = network_->log_probabilities().to(torch::kFloat32);
    if (rows.defined()) return all.index_select(0, torch::remainder(rows, all.size(0)).to(all.device()));
    return all.expand({tokens.size(0), tokens.size(1), -1});
  }
  torch::Tensor logits_in_order(const torch::Tensor& tokens, const ToldRows& told) override {
    return logits(tokens, {}, told, {});
  }
  std::shared_ptr<Denoiser> denoiser() override { return network_.ptr(); }
  std::vector<Condition> conditions(const ToldRows&) override { return {}; }
  void put_into(Bundle& bundle) const override {
    bundle.denoiser = BundlePart{network_->options().to_config(), network_->state()};
  }

 private:
  CodeFrequencies network_;
};

MadeNetworks make_code_frequencies_networks(const PriorNetworksInput& input) {
  const auto& grids = input.data.train;
  CodeFrequenciesOptions options;
  options.codebook_size = input.data.codebook_size;
  options.grid = {grids.size(1), grids.size(2)};
  options.by_cell = input.recipe.frequencies == "cells";
  const auto counted = input.recipe.frequencies == "none"
                           ? torch::zeros({options.rows(), options.codebook_size}, torch::kFloat64)
                           : log_frequencies(grids.flatten(1).to(torch::kInt64), options, kSmoothing);
  const auto made = [&] {
    CodeFrequencies network(options);
    network->load({{"log_probabilities", torch::log_softmax(counted, -1).to(torch::kFloat32)}}, "code frequencies");
    network->eval();
    return std::make_unique<CodeFrequenciesNetworks>(network);
  };
  return {made(), made()};
}

}  // namespace

TrainedPriorEntry code_frequencies_prior() {
  TrainedPriorEntry entry;
  entry.name = "code-frequencies";
  entry.help = "how often each code is, whatever its neighbours: counted, not learned";
  entry.counts = true;
  entry.unused = {"condition",     "layers",
                  "heads",         "width",
                  "dropout",       "initialisation",
                  "start_from",    "steps",
                  "batch_size",    "shards",
                  "gradient_type", "learning_rate",
                  "warmup",        "final_learning_rate",
                  "weight_decay",  "beta2",
                  "clip_norm",     "ema_decay",
                  "ema_warmup",    "sampling",
                  "keep",          "precision"};
  entry.make = make_code_frequencies_networks;
  return entry;
}

}  // namespace tessera
