#include "diffusion/process.h"

#include "runtime/error.h"

namespace tessera {

torch::Tensor Process::log_marginal(const torch::Tensor& x0, const torch::Tensor& t) const {
  return log_transition(x0, torch::zeros_like(t), t);
}

torch::Tensor Process::log_posterior(const torch::Tensor& xt, const torch::Tensor& x0, const torch::Tensor& s,
                                     const torch::Tensor& t) const {
  const auto joint = log_likelihood(xt, s, t) + log_marginal(x0, s);
  return joint - joint.logsumexp({-1}, true);
}

torch::Tensor Process::log_reverse(const torch::Tensor& xt, const torch::Tensor& log_p, const torch::Tensor& s,
                                   const torch::Tensor& t) const {
  require(log_p.dim() == 3 && log_p.size(2) == codebook_size(), "process: expected log probabilities [N, L, {}]",
          codebook_size());
  const auto reached = log_likelihood(xt, torch::zeros_like(t), t)
                           .narrow(2, 0, codebook_size())
                           .to(log_p.options());  // log q(x_t | x_0)
  const auto possible = reached > kNever;
  const auto weights =
      torch::where(possible, log_p - reached.masked_fill(~possible, 0), torch::full_like(log_p, kNever));
  return log_spread(weights, s) + log_likelihood(xt, s, t).to(log_p.options());
}

Noised Process::q_sample(const torch::Tensor& x0, const torch::Tensor& t, const torch::Tensor& uniforms) const {
  require(x0.dim() == 2 && uniforms.sizes() == x0.sizes() && t.dim() == 1 && t.size(0) == x0.size(0),
          "process: expected x0 and uniforms [N, L] and t [N]");
  const auto tokens = draw_states(log_marginal(x0, t), uniforms);
  return {tokens, tokens != x0};
}

torch::Tensor Process::posterior(const torch::Tensor& xt, const torch::Tensor& x0_probabilities,
                                 const torch::Tensor& t) const {
  auto result = log_reverse(xt, x0_probabilities.log(), t - 1, t).exp();
  result = result / result.sum(-1, true);
  return has_mask() ? result : torch::constant_pad_nd(result, {0, 1});
}

torch::Tensor draw_states(const torch::Tensor& log_p, const torch::Tensor& uniforms) {
  const auto mass = (log_p.to(torch::kFloat64) - std::get<0>(log_p.to(torch::kFloat64).max(-1, true))).exp();
  const auto cumulative = mass.cumsum(-1);
  const auto point = uniforms.to(torch::kFloat64).unsqueeze(-1) * cumulative.narrow(-1, log_p.size(-1) - 1, 1);
  // The first state whose cumulative mass is above the point.
  return (cumulative <= point).sum(-1).clamp_max(log_p.size(-1) - 1);
}

torch::Tensor uniform_rows(Seed seed, Purpose purpose, std::uint64_t first_row, std::uint32_t step, std::int64_t count,
                           std::int64_t cells) {
  auto uniforms = torch::empty({count, cells}, torch::kFloat64);
  auto* out = uniforms.data_ptr<double>();
  for (std::int64_t row = 0; row < count; ++row) {
    const RandomStream stream(seed, purpose, first_row + static_cast<std::uint64_t>(row), step);
    for (std::int64_t cell = 0; cell < cells; ++cell) *out++ = stream.uniform(static_cast<std::uint32_t>(cell));
  }
  return uniforms;
}

}  // namespace tessera
