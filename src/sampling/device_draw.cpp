#include "sampling/device_draw.h"

namespace tessera {

bool draws_on_device(const DrawOptions& options) {
  return options.top_k == 0 && options.top_p >= 1 && options.typical_p >= 1;
}

DrawnTokens draw_tokens(const torch::Tensor& logits, const torch::Tensor& uniforms, const DrawOptions& options) {
  const auto relative = logits.to(torch::kFloat64) - logits.amax(-1, true).to(torch::kFloat64);
  auto mass = relative.exp();
  const auto normaliser = mass.sum(-1).log();
  torch::Tensor tokens;
  if (options.temperature == 0) {
    tokens = logits.argmax(-1);
  } else {
    if (options.temperature != 1) mass = (relative / options.temperature).exp();
    const auto cumulative = mass.cumsum(-1);
    const auto point = uniforms * cumulative.select(-1, -1);
    tokens = (cumulative <= point.unsqueeze(-1)).sum(-1).clamp_max(logits.size(-1) - 1);
  }
  return {tokens, relative.gather(-1, tokens.unsqueeze(-1)).squeeze(-1) - normaliser};
}

}  // namespace tessera
