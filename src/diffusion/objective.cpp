#include "diffusion/objective.h"

#include <cmath>

#include "diffusion/even_objective.h"
#include "runtime/error.h"

namespace tessera {
namespace {

const double kZero = std::log(1e-30);  // the published logarithm of no probability

torch::Tensor log_one_hot(const torch::Tensor& tokens, std::int64_t codes, double zero,
                          const torch::TensorOptions& options) {
  return torch::full({tokens.size(0), tokens.size(1), codes}, zero, options).scatter_(2, tokens.unsqueeze(2), 0.0);
}

/// p (log p - log q) summed over states, where nothing of p counts for nothing.
torch::Tensor divergence(const torch::Tensor& log_p, const torch::Tensor& log_q) {
  const auto p = log_p.exp();
  return torch::where(p > 0, p * (log_p - log_q), torch::zeros_like(p)).sum(-1);
}

}  // namespace

void ObjectiveOptions::validate() const {
  const auto check = [](const char* name, double value) {
    require(std::isfinite(value) && value >= 0, "{} is {}, expected 0 or more", name, value);
  };
  check("mask_weight", mask_weight);
  check("kept_weight", kept_weight);
  check("auxiliary_weight", auxiliary_weight);
}

torch::Tensor log_x0(const torch::Tensor& logits) {
  const auto type = logits.scalar_type() == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
  return torch::log_softmax(logits.to(torch::kFloat64), -1).to(type).clamp(kLowestLog, 0);
}

ObjectiveTerms objective(const Process& process, const ObjectiveOptions& options, const torch::Tensor& x0,
                         const torch::Tensor& xt, const torch::Tensor& log_p, const torch::Tensor& t,
                         const torch::Tensor& p_t) {
  require(log_p.dim() == 3 && log_p.size(2) == process.codebook_size() && xt.sizes() == x0.sizes(),
          "objective: expected x0 and xt [N, L] and log probabilities [N, L, {}]", process.codebook_size());
  const auto plain = log_p.options().requires_grad(false);
  ObjectiveTerms terms;
  const auto before = t - 1;
  const auto known = log_one_hot(x0, process.codebook_size(), kZero, plain);
  terms.log_true = process.log_reverse(xt, known, before, t).clamp(kLowestLog, 0);
  terms.log_model = process.log_reverse(xt, log_p, before, t).clamp(kLowestLog, 0);
  terms.kl_cells = divergence(terms.log_true, terms.log_model);
  terms.nll_cells = -terms.log_model.gather(2, x0.unsqueeze(2)).squeeze(2);
  terms.auxiliary_cells = -log_p.gather(2, x0.unsqueeze(2)).squeeze(2);
  if (process.only_masks()) {
    const auto open = xt == process.codebook_size();
    for (auto* cells : {&terms.kl_cells, &terms.nll_cells, &terms.auxiliary_cells})
      *cells = torch::where(open, *cells, torch::zeros_like(*cells));
  }
  const auto masked = (xt == process.codebook_size()).to(plain);
  terms.weights = masked * options.mask_weight + (1 - masked) * options.kept_weight;
  terms.kl = (terms.kl_cells * terms.weights).sum(1);
  terms.nll = terms.nll_cells.sum(1);
  terms.auxiliary = (terms.auxiliary_cells * terms.weights).sum(1);
  const auto first = t.to(log_p.device()) == 1;
  terms.bound = torch::where(first, terms.nll, terms.kl);
  const auto chance = p_t.to(plain);
  terms.loss = terms.bound / chance;
  if (options.auxiliary_weight > 0) {
    const auto pace =
        options.adaptive ? 2 - before.to(plain) / static_cast<double>(process.total_steps()) : torch::ones_like(chance);
    terms.loss =
        terms.loss + pace * options.auxiliary_weight * torch::where(first, terms.nll, terms.auxiliary) / chance;
  }
  return terms;
}

ObjectiveSums objective_sums(const Process& process, const ObjectiveOptions& options, const torch::Tensor& x0,
                             const torch::Tensor& xt, const torch::Tensor& logits, const torch::Tensor& t,
                             const torch::Tensor& p_t) {
  if (has_even_objective(process, logits)) return even_objective(process, options, x0, xt, logits, t, p_t);
  const auto terms = objective(process, options, x0, xt, log_x0(logits), t, p_t);
  return {terms.bound, terms.loss, x0.size(1)};
}

torch::Tensor importance_of_times(const torch::Tensor& history) {
  auto weights = (history + 1e-10).sqrt() + 1e-4;
  if (weights.size(0) > 1) weights[0] = weights[1];
  return weights / weights.sum();
}

torch::Tensor bound_terms(const Process& process, const torch::Tensor& x0, const torch::Tensor& xt,
                          const torch::Tensor& log_p) {
  const torch::NoGradGuard no_grad;
  const auto total = process.total_steps(), rows = x0.size(0);
  require(xt.dim() == 3 && xt.size(0) == total && log_p.dim() == 4 && log_p.size(0) == total,
          "bound: expected x_t [{}, N, L] and log probabilities [{}, N, L, K]", total, total);
  const auto at = [&](std::int64_t t) { return torch::full({rows}, t, torch::kInt64); };
  const auto last = process.log_marginal(x0, at(total));
  auto start = torch::full_like(last, kNever);
  if (process.has_mask()) {
    start.select(2, process.codebook_size()).zero_();
  } else {
    start.fill_(-std::log(static_cast<double>(process.codebook_size())));
  }
  std::vector<torch::Tensor> terms = {divergence(last, start).sum(1)};
  for (std::int64_t t = 1; t <= total; ++t) {
    const auto model = process.log_reverse(xt[t - 1], log_p[t - 1].to(torch::kFloat64), at(t - 1), at(t));
    const auto known = process.log_posterior(xt[t - 1], x0, at(t - 1), at(t));
    terms.push_back(divergence(known, model - model.logsumexp({-1}, true)).sum(1));
  }
  return torch::stack(terms);
}

}  // namespace tessera
