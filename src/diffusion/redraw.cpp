#include "diffusion/redraw.h"

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

}  // namespace tessera
