/// VQ-Diffusion's denoiser in training, with text (its encoder trained along) or class labels. Gu et al.,
/// arXiv:2111.14822, section 4.2; the learned null condition: Tang et al., arXiv:2205.16007, section 3.1.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "denoiser/conditional_start.h"
#include "denoiser/guided_denoiser.h"
#include "denoiser/networks.h"
#include "runtime/error.h"
#include "runtime/log.h"
#include "text/clip_text_encoder.h"
#include "training/codec_trainer.h"
#include "training/prior_networks.h"
#include "training/take_matching.h"

namespace tessera {
namespace {

constexpr std::int64_t kTextHead = 64;  // features of a head of the text encoder

class ConditionalNetworks : public PriorNetworks {
 public:
  explicit ConditionalNetworks(const PriorNetworksInput& input);

  Parameters parameters() const override;
  void to(torch::Device device) override;
  void train(bool training) override { network_->train(training); }
  void seed_dropout(std::uint64_t bits) override { network_->seed_dropout(bits); }
  torch::Tensor logits(const torch::Tensor& tokens, const torch::Tensor& times, const ToldRows& told,
                       const torch::Tensor& rows) override {
    return network_->forward(tokens, times, batch_of(told), rows);
  }
  std::shared_ptr<Denoiser> denoiser() override { return std::make_shared<GuidedDenoiser>(network_); }
  std::vector<Condition> conditions(const ToldRows& told) override;
  void put_into(Bundle& bundle) const override;

  void initialise(Seed seed);
  void begin_from(const Bundle& start, const std::string& where);

 private:
  bool has_text() const { return !text_.is_empty(); }
  ConditionBatch batch_of(const ToldRows& told);

  ConditionalTransformer network_{nullptr};
  ClipTextEncoder text_{nullptr};
  torch::Tensor null_embedding_;  // [P, C]
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

ClipTextOptions text_options(const PriorNetworksInput& input) {
  const auto& recipe = input.recipe;
  ClipTextOptions text;
  text.vocabulary = input.tokenizer->vocabulary_size();
  text.length = recipe.text_length;
  text.width = recipe.text_width;
  text.layers = recipe.text_layers;
  text.heads = std::max<std::int64_t>(1, recipe.text_width / kTextHead);
  text.hidden = 4 * recipe.text_width;
  text.exact_gelu = !input.start || !input.start->text_encoder ||
                    ClipTextOptions::from_config(input.start->text_encoder->config).exact_gelu;
  return text;
}

ConditionalNetworks::ConditionalNetworks(const PriorNetworksInput& input) {
  const auto precision = training_precision(input.recipe.precision, input.device);
  network_ = ConditionalTransformer(conditional_options(input));
  network_->set_precision(precision);
  if (!input.recipe.has_text()) return;
  const auto text = text_options(input);
  text_ = ClipTextEncoder(text);
  text_->set_precision(precision);
  null_embedding_ = torch::zeros({text.length, text.width}).requires_grad_();
}

void ConditionalNetworks::initialise(Seed seed) {
  network_->initialise(seed);
  if (!has_text()) return;
  text_->initialise(seed + 1);
  const torch::NoGradGuard no_grad;
  null_embedding_.normal_(0, 1 / std::sqrt(static_cast<double>(null_embedding_.size(1))),
                          at::detail::createCPUGenerator(seed + 2));
}

void ConditionalNetworks::begin_from(const Bundle& start, const std::string& where) {
  const auto& given = *start.denoiser;
  if (!is_of_this_network(start)) {
    start_from_prior(network_, TransformerOptions::from_config(given.config), given.tensors, where);
    return;
  }
  auto weights = network_->state();
  auto taken = take_matching(weights, given.tensors);
  require(taken.taken > 0, "start_from: {}: none of its {} tensors fits this prior", where, given.tensors.size());
  network_->load(weights, where);
  log().info("prior: {}", taken.text(where));
  if (!has_text() || !start.text_encoder) return;
  weights = text_->state();
  taken = take_matching(weights, start.text_encoder->tensors);
  text_->load(weights, where);
  log().info("text encoder: {}", taken.text(where));
  if (!start.null_condition) return;
  const auto& null_states = start.null_condition->tensors.at("embeddings");
  const torch::NoGradGuard no_grad;
  if (null_states.sizes() == null_embedding_.sizes()) null_embedding_.copy_(null_states);
}

PriorNetworks::Parameters ConditionalNetworks::parameters() const {
  Parameters all;
  for (const auto& item : network_->named_parameters()) all.insert("denoiser." + item.key(), item.value());
  if (!has_text()) return all;
  for (const auto& item : text_->named_parameters()) all.insert("text." + item.key(), item.value());
  all.insert("null_embedding", null_embedding_);
  return all;
}

void ConditionalNetworks::to(torch::Device device) {
  network_->to(device);
  if (!has_text()) return;
  text_->to(device);
  null_embedding_ = null_embedding_.detach().to(device).requires_grad_();
}

ConditionBatch ConditionalNetworks::batch_of(const ToldRows& told) {
  ConditionBatch batch;
  if (has_text()) {
    const auto states = unit_positions(text_->forward(told.ids));
    batch.states =
        torch::where(told.dropped.view({-1, 1, 1}).to(states.device()), null_embedding_.unsqueeze(0), states);
  }
  if (told.labels.defined()) batch.classes = told.labels.masked_fill(told.dropped, -1);
  return batch;
}

std::vector<Condition> ConditionalNetworks::conditions(const ToldRows& told) {
  const torch::NoGradGuard no_grad;
  const auto batch = batch_of(told);
  std::vector<Condition> conditions(static_cast<std::size_t>(told.dropped.size(0)));
  for (std::size_t i = 0; i < conditions.size(); ++i) {
    const auto row = static_cast<std::int64_t>(i);
    if (has_text()) {
      conditions[i].states = batch.states[row];
      conditions[i].null_states = null_embedding_.detach();
    }
    if (batch.classes.defined()) conditions[i].label = batch.classes[row].item<std::int64_t>();
  }
  return conditions;
}

void ConditionalNetworks::put_into(Bundle& bundle) const {
  bundle.denoiser = BundlePart{network_->options().to_config(), network_->state()};
  if (!has_text()) return;
  bundle.text_encoder = BundlePart{text_->options().to_config(), text_->state()};
  bundle.null_condition = BundlePart{{{"_class_name", "LearnedClassifierFreeSamplingEmbeddings"},
                                      {"learnable", true},
                                      {"hidden_size", null_embedding_.size(1)},
                                      {"length", null_embedding_.size(0)}},
                                     {{"embeddings", null_embedding_.detach()}}};
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
