#include "sampling/device_draw.h"

#include <algorithm>
#include <vector>

#include "diffusion/process.h"

namespace tessera {
namespace {

constexpr std::int64_t kElements = std::int64_t{1} << 22;  // of float64 logits at once: 32 MiB

DrawnTokens draw_block(const torch::Tensor& logits, const torch::Tensor& uniforms, double temperature) {
  const auto relative = logits.to(torch::kFloat64) - logits.amax(-1, true).to(torch::kFloat64);
  const auto tokens = temperature == 0 ? logits.argmax(-1) : draw_states(relative / temperature, uniforms);
  const auto normaliser = relative.exp().sum(-1).log();
  return {tokens, relative.gather(-1, tokens.unsqueeze(-1)).squeeze(-1) - normaliser};
}

}  // namespace

bool draws_on_device(const DrawOptions& options) {
  return options.top_k == 0 && options.top_p >= 1 && options.typical_p >= 1;
}

DrawnTokens draw_tokens(const torch::Tensor& logits, const torch::Tensor& uniforms, const DrawOptions& options) {
  const auto rows = std::max<std::int64_t>(1, kElements / std::max<std::int64_t>(1, logits.size(-1)));
  if (logits.size(0) <= rows) return draw_block(logits, uniforms, options.temperature);
  std::vector<torch::Tensor> tokens, log_probability;
  for (std::int64_t first = 0; first < logits.size(0); first += rows) {
    const auto last = std::min(first + rows, logits.size(0));
    const auto drawn = draw_block(logits.slice(0, first, last), uniforms.slice(0, first, last), options.temperature);
    tokens.push_back(drawn.tokens);
    log_probability.push_back(drawn.log_probability);
  }
  return {torch::cat(tokens), torch::cat(log_probability)};
}

}  // namespace tessera
