// aMUSEd's network as a denoiser. Guidance: Patil et al., arXiv:2401.01808, section 4.1, as the hub's AmusedPipeline.
#include <map>

#include "denoiser/guided_denoiser.h"
#include "denoiser/guided_rows.h"
#include "denoiser/networks.h"
#include "denoiser/uvit.h"
#include "runtime/error.h"

namespace tessera {
namespace {

torch::Tensor mix_logits(const torch::Tensor& unconditional, const torch::Tensor& conditional,
                         const torch::Tensor& scale) {
  return unconditional + scale * (conditional - unconditional);
}

class UVitEvaluator : public ContextEvaluator {
 public:
  UVitEvaluator(UVit network, std::vector<Condition> conditions, Extent extent)
      : network_(std::move(network)),
        conditions_(std::move(conditions)),
        kinds_(first_of_its_kind(conditions_)),
        extent_(extent) {
    // Of each kind of condition the text without and with it, at place and place + 1.
    std::vector<torch::Tensor> states, pooled, micro;
    const auto own = network_->options().own_micro();
    for (std::size_t i = 0; i < kinds_.size(); ++i) {
      if (kinds_[i] != static_cast<std::int64_t>(i)) continue;
      const auto& condition = conditions_[i];
      place_[kinds_[i]] = static_cast<std::int64_t>(states.size());
      states.insert(states.end(), {condition.null_states, condition.states});
      pooled.insert(pooled.end(), {condition.null_pooled, condition.pooled});
      micro.insert(micro.end(), 2, condition.micro.defined() ? condition.micro.to(torch::kFloat32) : own);
    }
    texts_ = network_->read(torch::stack(states), torch::stack(pooled), torch::stack(micro));
  }

  torch::Tensor logits(const Look& look) override { return look_at(look, std::nullopt); }
  torch::Tensor logits_in_context(const Look& look, ContextUse use) override { return look_at(look, use); }

 private:
  torch::Tensor look_at(const Look& look, std::optional<ContextUse> use) {
    require(look.tokens.size(1) == extent_.cells(), "denoiser: grids of {} cells, expected {}x{}", look.tokens.size(1),
            extent_.h, extent_.w);
    return guided_look(
        look, conditions_,
        [&](const Halves& halves, const torch::Tensor& at) {
          std::vector<std::int64_t> texts;
          for (std::size_t i = 0; i < halves.rows.size(); ++i)
            texts.push_back(place_.at(kinds_[static_cast<std::size_t>(halves.conditions[i])]) +
                            (i < halves.nulls ? 0 : 1));
          const auto rows = torch::tensor(halves.rows).to(look.tokens.device());
          const auto tokens = look.tokens.index_select(0, rows).view({-1, extent_.h, extent_.w});
          const auto& options = network_->options();
          auto context = contexts_.pass_of(look, use, texts, {0, options.halves ? 2 : 1, extent_.w});
          return network_->forward(tokens, texts_, torch::tensor(texts), at, context ? &*context : nullptr);
        },
        mix_logits);
  }

  UVit network_;
  std::vector<Condition> conditions_;
  std::vector<std::int64_t> kinds_;
  Extent extent_;
  std::map<std::int64_t, std::int64_t> place_;  // of a kind's first text
  UVitTexts texts_;
  KeptContexts contexts_;
};

void check_uvit_condition(const Condition& condition, const UVitOptions& options) {
  check_condition(condition, 0, options.text_width);
  for (const auto& pooled : {condition.pooled, condition.null_pooled})
    require(pooled.defined() && pooled.dim() == 1 && pooled.size(0) == options.pooled_width,
            "condition: expected the text as one vector [{}] as the denoiser reads", options.pooled_width);
  require(!condition.micro.defined() || (condition.micro.dim() == 1 && condition.micro.size(0) == 5),
          "condition: expected width, height, crop and score, five numbers");
}

}  // namespace

UVitDenoiser::UVitDenoiser(UVit network, Condition none, Extent extent)
    : network_(std::move(network)),
      none_(std::move(none)),
      extent_(extent.cells() > 0 ? extent : network_->options().grid) {
  if (none_.states.defined()) check_uvit_condition(none_, network_->options());
}

std::unique_ptr<Evaluator> UVitDenoiser::begin(const std::vector<Condition>& conditions) {
  auto own = conditions.empty() ? std::vector<Condition>{none_} : conditions;
  for (const auto& condition : own) check_uvit_condition(condition, network_->options());
  const torch::NoGradGuard no_grad;
  return std::make_unique<UVitEvaluator>(network_, std::move(own), extent_);
}

namespace {

NetworkFacts facts_of_uvit(const nlohmann::json& config) {
  const auto options = UVitOptions::from_config(config);
  NetworkFacts facts;
  facts.codebook_size = options.codebook_size;
  facts.grid = options.grid;
  facts.layers = options.layers;
  facts.heads = options.heads;
  facts.width = options.width;
  facts.condition_width = options.text_width;
  return facts;
}

std::shared_ptr<Denoiser> load_uvit_denoiser(const NetworkInput& input) {
  auto network = load_uvit(input.config, input.tensors, input.where, input.loading);
  network->set_precision(input.precision);
  network->to(input.device);
  return std::make_shared<UVitDenoiser>(network, input.none);
}

}  // namespace

NetworkEntry uvit_network() {
  return {"uvit", "aMUSEd's: convolutions around a transformer; takes a text", "UVit2DModel", facts_of_uvit,
          load_uvit_denoiser};
}

}  // namespace tessera
