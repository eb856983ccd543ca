#include "denoiser/guided_denoiser.h"

#include <cmath>

#include "runtime/error.h"

namespace tessera {
namespace {

constexpr double kNoGuidance = 1e-3;  // scales this near to 1 are 1, as published

torch::Tensor log_probabilities(const torch::Tensor& logits) {
  return torch::log_softmax(logits.to(torch::kFloat64), -1).to(torch::kFloat32).clamp(kLogFloor, 0);
}

}  // namespace

torch::Tensor guided(const torch::Tensor& unconditional, const torch::Tensor& conditional, double scale) {
  const auto u = unconditional.clamp(kLogFloor, 0), c = conditional.clamp(kLogFloor, 0);
  const auto mixed = u + scale * (c - u);
  return (mixed - mixed.logsumexp({-1}, true)).clamp(kLogFloor, 0);
}

void GuidedDenoiser::set_guidance(const Guidance& guidance) {
  const auto& options = network_->options();
  if (options.condition_width > 0) {
    for (const auto& states : {guidance.states, guidance.null_states}) {
      require(states.defined() && states.dim() == 2 && states.size(1) == options.condition_width,
              "condition: expected text states [P, {}] as the denoiser reads", options.condition_width);
    }
    require(guidance.states.sizes() == guidance.null_states.sizes(),
            "condition: {} positions with text and {} without, expected as many", guidance.states.size(0),
            guidance.null_states.size(0));
  }
  for (const auto label : {guidance.label, guidance.null_label}) {
    require(label >= -1 && label < std::max<std::int64_t>(options.classes, 0),
            "class {}: expected 0 to {}, or -1 for none", label, options.classes - 1);
  }
  require(std::isfinite(guidance.scale) && std::abs(guidance.scale) <= 1000,
          "guidance scale {}: expected -1000 to 1000", guidance.scale);
  guidance_ = guidance;
  if (options.condition_width > 0) {
    guidance_.states = guidance.states.to(device());
    guidance_.null_states = guidance.null_states.to(device());
  }
}

torch::Tensor GuidedDenoiser::logits_at(const torch::Tensor& tokens, const torch::Tensor& rows) {
  require(times_.defined(), "denoiser: no time was given for the tokens");
  const auto count = tokens.size(0);
  const bool text = network_->options().condition_width > 0;
  const bool plain = std::abs(guidance_.scale - 1) < kNoGuidance, none = guidance_.scale == 0;
  const auto condition = [&](bool with) {
    Condition made;
    if (text) made.states = (with ? guidance_.states : guidance_.null_states).unsqueeze(0);
    made.classes = torch::full({1}, with ? guidance_.label : guidance_.null_label, torch::kInt64);
    return made;
  };
  if (plain || none) return log_probabilities(network_->forward(tokens, times_, condition(plain), rows));
  // The unconditional half first, as published. A class is shared by a half, so its rows are written out.
  const auto null = condition(false), given = condition(true);
  Condition both;
  if (text) {
    both.states = torch::cat({null.states.expand({count, -1, -1}), given.states.expand({count, -1, -1})});
  }
  both.classes = torch::cat({null.classes.expand({count}), given.classes.expand({count})});
  const auto times = times_.size(0) == 1 ? times_ : times_.repeat({2});
  const auto cells = tokens.size(1);
  const auto logits = network_->forward(tokens.repeat({2, 1}), times, both, torch::cat({rows, rows + count * cells}));
  const auto halves = log_probabilities(logits).chunk(2, 0);
  return guided(halves[0], halves[1], guidance_.scale);
}

}  // namespace tessera
