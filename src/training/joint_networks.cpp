/// One transformer over words and codes in training (denoiser/joint.h).
#include "denoiser/joint.h"
#include "runtime/error.h"
#include "training/codec_trainer.h"
#include "training/prior_networks.h"

namespace tessera {
namespace {

class JointNetworks : public PriorNetworks {
 public:
  JointNetworks(Transformer network, const JointOptions& options) : network_(std::move(network)), options_(options) {}

  Parameters parameters() const override { return network_->named_parameters(); }
  std::vector<std::string> products() const override { return products_of(*network_.ptr(), ""); }
  void to(torch::Device device) override { network_->to(device); }
  void train(bool training) override { network_->train(training); }
  void seed_dropout(std::uint64_t bits) override { network_->seed_dropout(bits); }
  torch::Tensor logits(const torch::Tensor& tokens, const torch::Tensor&, const ToldRows& told,
                       const torch::Tensor& rows) override {
    const auto count = tokens.size(0), cells = tokens.size(1);
    const auto asked = rows.defined() ? rows.to(torch::kCPU) : torch::arange(count * cells);
    const auto row = torch::div(asked, cells, "floor");
    const auto places = row * (options_.words + cells) + options_.words + (asked - row * cells);
    const auto found = sequence_logits(words_of(told, count), tokens, places).narrow(1, 0, options_.codebook_size);
    return rows.defined() ? found : found.view({count, cells, -1});
  }
  torch::Tensor sequence_logits(const torch::Tensor& words, const torch::Tensor& codes,
                                const torch::Tensor& places) override {
    return network_->logits_at(joint_sequence(options_, words, codes), places);
  }
  std::int64_t vocabulary() const override { return options_.vocabulary; }
  std::shared_ptr<Denoiser> denoiser() override {
    return std::make_shared<JointDenoiser>(network_, options_, JointSide::picture);
  }
  std::vector<Condition> conditions(const ToldRows& told) override {
    std::vector<Condition> conditions;
    const auto words = words_of(told, told.ids.size(0)).to(torch::kFloat32);
    for (std::int64_t n = 0; n < words.size(0); ++n) conditions.emplace_back().states = words[n].unsqueeze(1);
    return conditions;
  }
  void put_into(Bundle& bundle) const override {
    bundle.denoiser = BundlePart{options_.to_config(), network_->state()};
  }

 private:
  /// MASK for rows that are told nothing.
  torch::Tensor words_of(const ToldRows& told, std::int64_t count) const {
    require(told.ids.defined() && told.ids.size(0) == count, "joint prior: expected a caption for each of {} grids",
            count);
    return told.ids.masked_fill(told.dropped.unsqueeze(1), options_.vocabulary);
  }

  Transformer network_;
  JointOptions options_;
};

MadeNetworks make_joint_networks(const PriorNetworksInput& input) {
  const auto& recipe = input.recipe;
  require(input.tokenizer != nullptr, "joint prior: expected captions");
  JointOptions options;
  options.codebook_size = input.data.codebook_size;
  options.grid = {input.data.train.size(1), input.data.train.size(2)};
  options.vocabulary = input.tokenizer->vocabulary_size();
  options.words = recipe.text_length;
  options.layers = recipe.layers;
  options.heads = recipe.heads;
  options.width = recipe.width;
  options.dropout = recipe.dropout;
  options.validate();
  const auto start = recipe.initialisation == "framework" ? Initialisation::framework : Initialisation::small_normal;
  Transformer trained(options.sequence(), start, static_cast<Seed>(recipe.seed));
  Transformer average(options.sequence(), Initialisation::none);
  if (input.start) {
    auto weights = trained->state();
    take_weights(weights, *input.start->denoiser, recipe.start_from);
    trained->load(weights, recipe.start_from);
  }
  average->eval();
  for (auto network : {trained, average}) network->set_precision(training_precision(recipe.precision, input.device));
  return {std::make_unique<JointNetworks>(trained, options), std::make_unique<JointNetworks>(average, options)};
}

}  // namespace

TrainedPriorEntry joint_prior() {
  TrainedPriorEntry entry;
  entry.name = "joint";
  entry.help = "both directions: a transformer over captions and pictures, which fills either given the other";
  entry.conditions = {"text"};
  entry.make = make_joint_networks;
  return entry;
}

}  // namespace tessera
