#include "training/prior_conditioner.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "runtime/log.h"
#include "training/codec_trainer.h"
#include "training/take_matching.h"

namespace tessera {
namespace {

constexpr std::int64_t kTextHead = 64;  // features of a head of the text encoder

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

}  // namespace

PriorConditioner::PriorConditioner(const PriorNetworksInput& input) : has_classes_(input.recipe.has_classes()) {
  if (!input.recipe.has_text()) return;
  const auto text = text_options(input);
  text_ = ClipTextEncoder(text);
  text_->set_precision(training_precision(input.recipe.precision, input.device));
  null_embedding_ = torch::zeros({text.length, text.width}).requires_grad_();
}

void PriorConditioner::initialise(Seed seed) {
  if (!has_text()) return;
  text_->initialise(seed + 1);
  const torch::NoGradGuard no_grad;
  null_embedding_.normal_(0, 1 / std::sqrt(static_cast<double>(null_embedding_.size(1))),
                          at::detail::createCPUGenerator(seed + 2));
}

void PriorConditioner::begin_from(const Bundle& start, const std::string& where) {
  if (!has_text() || !start.text_encoder) return;
  auto weights = text_->state();
  const auto taken = take_matching(weights, start.text_encoder->tensors);
  text_->load(weights, where);
  log().info("text encoder: {}", taken.text(where));
  if (!start.null_condition) return;
  const auto& null_states = start.null_condition->tensors.at("embeddings");
  const torch::NoGradGuard no_grad;
  if (null_states.sizes() == null_embedding_.sizes()) null_embedding_.copy_(null_states);
}

void PriorConditioner::add_parameters(PriorNetworks::Parameters& all) const {
  if (!has_text()) return;
  for (const auto& item : text_->named_parameters()) all.insert("text." + item.key(), item.value());
  all.insert("null_embedding", null_embedding_);
}

void PriorConditioner::add_products(std::vector<std::string>& names) const {
  if (!has_text()) return;
  for (auto& name : products_of(*text_.ptr(), "text.")) names.push_back(std::move(name));
}

void PriorConditioner::to(torch::Device device) {
  if (!has_text()) return;
  text_->to(device);
  null_embedding_ = null_embedding_.detach().to(device).requires_grad_();
}

void PriorConditioner::put_into(Bundle& bundle) const {
  if (!has_text()) return;
  bundle.text_encoder = BundlePart{text_->options().to_config(), text_->state()};
  bundle.null_condition = BundlePart{{{"_class_name", "LearnedClassifierFreeSamplingEmbeddings"},
                                      {"learnable", true},
                                      {"hidden_size", null_embedding_.size(1)},
                                      {"length", null_embedding_.size(0)}},
                                     {{"embeddings", null_embedding_.detach()}}};
}

ConditionBatch PriorConditioner::batch_of(const ToldRows& told) {
  ConditionBatch batch;
  if (has_text()) {
    const auto states = unit_positions(text_->forward(told.ids));
    batch.states =
        torch::where(told.dropped.view({-1, 1, 1}).to(states.device()), null_embedding_.unsqueeze(0), states);
  }
  if (has_classes_) batch.classes = told.labels.masked_fill(told.dropped, -1);
  return batch;
}

std::vector<Condition> PriorConditioner::conditions(const ToldRows& told) {
  if (!has_text() && !has_classes_) return {};
  const torch::NoGradGuard no_grad;
  const auto batch = batch_of(told);
  std::vector<Condition> conditions(static_cast<std::size_t>(told.dropped.size(0)));
  for (std::size_t i = 0; i < conditions.size(); ++i) {
    const auto row = static_cast<std::int64_t>(i);
    if (has_text()) {
      conditions[i].states = batch.states[row];
      conditions[i].null_states = null_embedding_.detach();
    }
    if (has_classes_) conditions[i].label = batch.classes[row].item<std::int64_t>();
  }
  return conditions;
}

}  // namespace tessera
