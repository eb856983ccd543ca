#include "denoiser/guided_denoiser.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "denoiser/guided_rows.h"
#include "denoiser/networks.h"
#include "runtime/error.h"

namespace tessera {
namespace {

constexpr double kMostScale = 1000;

class GuidedEvaluator : public ContextEvaluator {
 public:
  GuidedEvaluator(ConditionalTransformer network, std::vector<Condition> conditions)
      : network_(std::move(network)), conditions_(std::move(conditions)), kinds_(first_of_its_kind(conditions_)) {
    if (network_->options().condition_width == 0) return;
    // Of each kind of condition the text without and with it, at 2 kind and 2 kind + 1.
    std::vector<torch::Tensor> texts;
    for (std::size_t i = 0; i < kinds_.size(); ++i) {
      if (kinds_[i] != static_cast<std::int64_t>(i)) continue;
      place_[kinds_[i]] = static_cast<std::int64_t>(texts.size());
      texts.push_back(conditions_[i].null_states);
      texts.push_back(conditions_[i].states);
    }
    texts_ = network_->keys_and_values(torch::stack(texts));
  }

  torch::Tensor logits(const Look& look) override { return look_at(look, std::nullopt); }
  torch::Tensor logits_in_context(const Look& look, ContextUse use) override { return look_at(look, use); }

 private:
  torch::Tensor look_at(const Look& look, std::optional<ContextUse> use);
  /// The network's log p(x_0) of the cells `at`, flat over the rows of `halves`.
  torch::Tensor evaluate(const Look& look, std::optional<ContextUse> use, const Halves& halves,
                         const torch::Tensor& at);

  ConditionalTransformer network_;
  std::vector<Condition> conditions_;
  std::vector<std::int64_t> kinds_;
  std::map<std::int64_t, std::int64_t> place_;  // of a kind's first text
  torch::Tensor texts_;                         // keys and values
  KeptContexts contexts_;
};

torch::Tensor GuidedEvaluator::evaluate(const Look& look, std::optional<ContextUse> use, const Halves& halves,
                                        const torch::Tensor& at) {
  const auto rows = torch::tensor(halves.rows);
  ConditionBatch batch;
  std::vector<std::int64_t> texts, classes;
  for (std::size_t i = 0; i < halves.rows.size(); ++i) {
    const auto which = static_cast<std::size_t>(halves.conditions[i]);
    const bool null = i < halves.nulls;
    classes.push_back(null ? conditions_[which].null_label : conditions_[which].label);
    if (texts_.defined()) texts.push_back(place_.at(kinds_[which]) + (null ? 0 : 1));
  }
  batch.classes = torch::tensor(classes);
  if (texts_.defined()) {
    batch.keys_and_values = texts_;
    batch.texts = torch::tensor(texts);
  }
  const auto times = look.times.size(0) == 1 ? look.times : look.times.index_select(0, rows.to(look.times.device()));
  const auto tokens = look.tokens.index_select(0, rows.to(look.tokens.device()));
  // A class or text by its number, whether it is there or not.
  std::vector<std::int64_t> told = halves.conditions;
  for (std::size_t i = 0; i < told.size(); ++i) told[i] = 2 * told[i] + (i < halves.nulls ? 0 : 1);
  auto context = contexts_.pass_of(look, use, told);
  return log_probabilities(network_->forward(tokens, times, batch, at, context ? &*context : nullptr));
}

torch::Tensor GuidedEvaluator::look_at(const Look& look, std::optional<ContextUse> use) {
  require(look.times.defined(), "denoiser: no time was given for the tokens");
  return guided_look(
      look, conditions_, [&](const Halves& halves, const torch::Tensor& at) { return evaluate(look, use, halves, at); },
      guided);
}

}  // namespace

torch::Tensor log_probabilities(const torch::Tensor& logits) {
  return torch::log_softmax(logits.to(torch::kFloat64), -1).to(torch::kFloat32).clamp(kLogFloor, 0);
}

torch::Tensor guided(const torch::Tensor& unconditional, const torch::Tensor& conditional, const torch::Tensor& scale) {
  const auto u = unconditional.clamp(kLogFloor, 0), c = conditional.clamp(kLogFloor, 0);
  const auto mixed = u + scale * (c - u);
  return (mixed - mixed.logsumexp({-1}, true)).clamp(kLogFloor, 0);
}

torch::Tensor guided(const torch::Tensor& unconditional, const torch::Tensor& conditional, double scale) {
  return guided(unconditional, conditional, torch::full({1}, scale, unconditional.options()));
}

void check_condition(const Condition& condition, std::int64_t classes, std::int64_t condition_width) {
  if (condition_width > 0) {
    for (const auto& states : {condition.states, condition.null_states}) {
      require(states.defined() && states.dim() == 2 && states.size(1) == condition_width,
              "condition: expected text states [P, {}] as the denoiser reads", condition_width);
    }
    require(condition.states.sizes() == condition.null_states.sizes(),
            "condition: {} positions with text and {} without, expected as many", condition.states.size(0),
            condition.null_states.size(0));
  }
  for (const auto label : {condition.label, condition.null_label}) {
    require(label >= -1 && label < std::max<std::int64_t>(classes, 0), "class {}: expected 0 to {}, or -1 for none",
            label, classes - 1);
  }
  require(std::isfinite(condition.scale) && std::abs(condition.scale) <= kMostScale,
          "guidance scale {}: expected {} to {}", condition.scale, -kMostScale, kMostScale);
}

GuidedDenoiser::GuidedDenoiser(ConditionalTransformer network, Condition none)
    : network_(std::move(network)), none_(std::move(none)) {
  const auto& options = network_->options();
  if (options.condition_width == 0 || none_.states.defined())
    check_condition(none_, options.classes, options.condition_width);
}

std::unique_ptr<Evaluator> GuidedDenoiser::begin(const std::vector<Condition>& conditions) {
  const auto& options = network_->options();
  auto own = conditions.empty() ? std::vector<Condition>{none_} : conditions;
  for (const auto& condition : own) check_condition(condition, options.classes, options.condition_width);
  const torch::NoGradGuard no_grad;
  return std::make_unique<GuidedEvaluator>(network_, std::move(own));
}

namespace {

NetworkFacts facts_of_conditional(const nlohmann::json& config) {
  const auto options = ConditionalOptions::from_config(config);
  NetworkFacts facts;
  facts.codebook_size = options.codebook_size;
  facts.grid = options.grid;
  facts.layers = options.layers;
  facts.heads = options.heads;
  facts.width = options.width();
  facts.total_steps = options.total_steps;
  facts.condition_width = options.condition_width;
  facts.classes = options.classes;
  return facts;
}

std::shared_ptr<Denoiser> load_guided(const NetworkInput& input) {
  auto network = load_conditional(input.config, input.tensors, input.where, input.loading);
  network->set_precision(input.precision);
  network->to(input.device);
  return std::make_shared<GuidedDenoiser>(network, input.none);
}

}  // namespace

NetworkEntry conditional_transformer_network() {
  return {"conditional-transformer", "bidirectional, sees the time; takes a text or a class", "Transformer2DModel",
          facts_of_conditional, load_guided};
}

}  // namespace tessera
