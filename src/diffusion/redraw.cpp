#include "diffusion/redraw.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "runtime/error.h"
#include "runtime/printable.h"

namespace tessera {
namespace {

constexpr const char* kExpected = "expected geometric, alphacum:a_0,..,a_T or a probability above 0";

double number_of(const std::string& text, const std::string& schedule) {
  double value = 0;
  const auto* end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, value);
  require(read.ec == std::errc{} && read.ptr == end && std::isfinite(value), "redraw schedule '{}': {}",
          printable(schedule), kExpected);
  return value;
}

std::vector<double> from_kept(const std::string& schedule, const std::string& list) {
  std::vector<double> kept;
  for (std::size_t at = 0; at <= list.size();) {
    const auto comma = std::min(list.find(',', at), list.size());
    kept.push_back(number_of(list.substr(at, comma - at), schedule));
    at = comma + 1;
  }
  std::vector<double> betas = {0};
  for (std::size_t t = 1; t < kept.size(); ++t) betas.push_back(kept[t - 1] > 0 ? 1 - kept[t] / kept[t - 1] : 1);
  return betas;
}

}  // namespace

std::vector<double> redraw_schedule(const std::string& name, std::int64_t total_steps) {
  require(total_steps >= 1 && total_steps <= 1 << 20, "redraw schedule: {} steps, expected 1 or more", total_steps);
  const std::string list = "alphacum:";
  std::vector<double> betas = {0};
  if (name.starts_with(list)) {
    betas = from_kept(name, name.substr(list.size()));
    require(static_cast<std::int64_t>(betas.size()) == total_steps + 1, "redraw schedule '{}': {} values, expected {}",
            printable(name), betas.size(), total_steps + 1);
  } else {
    const double same = name == "geometric" ? 0 : number_of(name, name);
    for (std::int64_t t = 1; t <= total_steps; ++t)
      betas.push_back(name == "geometric" ? 1 / static_cast<double>(total_steps - t + 1) : same);
  }
  for (std::size_t t = 1; t < betas.size(); ++t)
    require(betas[t] > 0 && betas[t] <= 1, "redraw schedule '{}': beta is {} at step {}, expected above 0, at most 1",
            printable(name), betas[t], t);
  return betas;
}

std::vector<double> kept_by(const std::vector<double>& betas) {
  std::vector<double> kept;
  for (const auto beta : betas) kept.push_back((kept.empty() ? 1 : kept.back()) * (1 - beta));
  return kept;
}

namespace {

double product_with_log(double weight, double probability) {
  return weight > 0 ? weight * std::log(probability) : 0;
}

/// q(x_{t-1} | x_t, x_0) of one cell: of x_0 and of x_t where these are two codes, of the one where they are the same,
/// of each other code.
struct CellPosterior {
  double x0, xt, same;
  double other_if_apart, other_if_same;
};

CellPosterior cell_posterior(const EvenStep& before, const EvenStep& step, double codes) {
  const double stays = before.alpha + before.beta, moves = before.beta;
  const double seen_same = step.alpha + step.beta, seen_other = step.beta;
  const double other = moves * seen_other;
  const double apart = stays * seen_other + moves * seen_same + (codes - 2) * other;
  const double same = stays * seen_same + (codes - 1) * other;
  return {apart > 0 ? stays * seen_other / apart : 0, apart > 0 ? moves * seen_same / apart : 0,
          stays * seen_same / same, apart > 0 ? other / apart : 0, other / same};
}

/// KL(q(x_{t-1} | x_t, x_0) || p) summed over cells, [N]: as step_divergence, without tensors of all codes but the
/// logits.
torch::Tensor even_step_divergence(const torch::Tensor& logits, const torch::Tensor& x0, const torch::Tensor& xt,
                                   const CellPosterior& q, std::int64_t codes) {
  const auto total = torch::logsumexp(logits, -1);  // [N, L]
  const auto log_of = [&](const torch::Tensor& code) {
    return logits.gather(-1, code.unsqueeze(-1)).squeeze(-1) - total;
  };
  const auto of_x0 = log_of(x0), of_xt = log_of(xt);
  const auto count = static_cast<double>(codes);
  const auto entropy_apart = product_with_log(q.x0, q.x0) + product_with_log(q.xt, q.xt) +
                             (count - 2) * product_with_log(q.other_if_apart, q.other_if_apart);
  const auto entropy_same =
      product_with_log(q.same, q.same) + (count - 1) * product_with_log(q.other_if_same, q.other_if_same);
  auto apart = entropy_apart - (q.x0 - q.other_if_apart) * of_x0 - (q.xt - q.other_if_apart) * of_xt;
  auto same = entropy_same - (q.same - q.other_if_same) * of_x0;
  if (q.other_if_apart > 0 || q.other_if_same > 0) {
    const auto of_all = logits.sum(-1) - count * total;
    apart = apart - q.other_if_apart * of_all;
    same = same - q.other_if_same * of_all;
  }
  return torch::where(x0 == xt, same, apart).sum(-1);
}

}  // namespace

torch::Tensor redrawn(const torch::Tensor& x, const torch::Tensor& codes, const torch::Tensor& uniforms, double beta) {
  return torch::where(uniforms < beta, codes, x);
}

torch::Tensor step_divergence(const torch::Tensor& logits, const torch::Tensor& log_posterior) {
  const auto log_p = torch::log_softmax(logits, -1);
  const auto q = log_posterior.exp().to(log_p.scalar_type());
  const auto log_q = log_posterior.to(log_p.scalar_type()).masked_fill(q == 0, 0);
  return (q * (log_q - log_p)).sum(-1);
}

StepLoss step_loss(const torch::Tensor& logits, const torch::Tensor& before, const torch::Tensor& log_posterior) {
  return {torch::nn::functional::cross_entropy(logits.flatten(0, 1), before.flatten()),
          step_divergence(logits, log_posterior).mean()};
}

torch::Tensor redraw_bound_terms(const Process& process, const StepLogits& logits, const torch::Tensor& x0,
                                 const torch::Tensor& uniforms) {
  const auto count = x0.size(0), cells = x0.size(1), total = process.total_steps(), codes = process.codebook_size();
  require(uniforms.sizes() == torch::IntArrayRef({count, uniforms_of_bound(total) * cells}),
          "bound of a chain: uniforms are {}, expected [{}, {}]", fmt::join(uniforms.sizes(), ", "), count,
          uniforms_of_bound(total) * cells);
  const auto step_of = [&](std::int64_t s, std::int64_t t) {
    const auto step = process.even_step(s, t);
    require(step && step->gamma == 0, "bound of a chain: expected a process that redraws codes alike");
    return *step;
  };
  const auto drawn = uniforms.view({count, total, 3, cells});
  const auto size = static_cast<double>(codes);
  const auto last = step_of(0, total);
  const double of_last = product_with_log(last.alpha + last.beta, size * (last.alpha + last.beta)) +
                         (size - 1) * product_with_log(last.beta, size * last.beta);
  std::vector<torch::Tensor> terms = {torch::full({count}, of_last * static_cast<double>(cells), torch::kFloat32)};
  for (std::int64_t t = 1; t <= total; ++t) {
    const auto own = drawn.select(1, t - 1);
    const auto before =
        t == 1 ? x0 : process.q_sample(x0, torch::full({count}, t - 1, torch::kInt64), own.select(1, 0)).tokens;
    const auto step = step_of(t - 1, t);
    const auto redraw = (own.select(1, 1) * size).floor().to(torch::kInt64);
    const auto xt = redrawn(before, redraw, own.select(1, 2), 1 - step.alpha);
    const auto said = logits(xt, before, t);
    const auto posterior = cell_posterior(step_of(0, t - 1), step, size);
    terms.push_back(even_step_divergence(said, x0.to(said.device()), xt.to(said.device()), posterior, codes));
  }
  terms.front() = terms.front().to(terms.back().device(), terms.back().scalar_type());
  return torch::stack(terms);
}

}  // namespace tessera
