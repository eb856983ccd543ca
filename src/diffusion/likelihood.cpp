#include "diffusion/likelihood.h"

#include <numbers>

#include "runtime/error.h"

namespace tessera {
namespace {

torch::Tensor term(const LogitsAt& denoise, const torch::Tensor& x0, const Noised& noised, std::int64_t t) {
  const auto rows = rows_of(noised.changed);
  if (rows.numel() == 0) return torch::zeros({x0.size(0)}, torch::kFloat64);
  const auto logits = denoise(noised.tokens, rows);
  const auto ce = masked_cross_entropy_at(logits, x0, rows);
  return ce.to(torch::kCPU, torch::kFloat64) / static_cast<double>(t);
}

}  // namespace

torch::Tensor elbo_terms(const LogitsAt& denoise, const torch::Tensor& x0, const torch::Tensor& masks,
                         std::int64_t mask_token) {
  const torch::NoGradGuard no_grad;
  require(masks.dim() == 3 && masks.size(1) == x0.size(0) && masks.size(2) == x0.size(1),
          "elbo: expected masks [T, N, L] for x0 [{}, {}]", x0.size(0), x0.size(1));
  std::vector<torch::Tensor> terms;
  for (std::int64_t t = 1; t <= masks.size(0); ++t) {
    const auto masked = masks[t - 1].to(torch::kBool);
    terms.push_back(term(denoise, x0, {x0.masked_fill(masked, mask_token), masked}, t));
  }
  return torch::stack(terms);
}

torch::Tensor elbo_terms(const LogitsAt& denoise, const torch::Tensor& x0, const AbsorbingProcess& process, Seed seed,
                         std::uint64_t first_row) {
  const torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> terms;
  for (std::int64_t t = 1; t <= process.total_steps(); ++t) {
    const auto times = torch::full({x0.size(0)}, t, torch::kInt64);
    terms.push_back(term(denoise, x0, process.q_sample(x0, times, seed, first_row, static_cast<std::uint32_t>(t)), t));
  }
  return torch::stack(terms);
}

torch::Tensor autoregressive_nll(const torch::Tensor& logits, const torch::Tensor& tokens) {
  return masked_cross_entropy(logits, tokens, torch::ones_like(tokens, torch::kBool));
}

torch::Tensor bits_per_token(const torch::Tensor& nats, std::int64_t cells) {
  return nats / (std::numbers::ln2 * static_cast<double>(cells));
}

}  // namespace tessera
