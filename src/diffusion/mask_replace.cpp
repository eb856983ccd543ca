#include "diffusion/mask_replace.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "runtime/error.h"

namespace tessera {
namespace {

void check_sizes(std::int64_t codes, std::int64_t steps) {
  require(codes >= 1, "process: codebook_size is {}, expected at least 1", codes);
  require(steps >= 1 && steps <= (1 << 20), "process: total_steps is {}, expected 1 to {}", steps, 1 << 20);
}

/// 1, then `steps` numbers from first to last in equal distances.
std::vector<double> with_line(double before, double first, double last, std::int64_t steps) {
  std::vector<double> values = {before};
  for (std::int64_t i = 0; i < steps; ++i) {
    const double share = steps > 1 ? static_cast<double>(i) / static_cast<double>(steps - 1) : 1;
    values.push_back(share * (last - first) + first);
  }
  return values;
}

/// log(exp a + exp b) whose gradient is finite also where both are nothing.
torch::Tensor add_logs(const torch::Tensor& a, const torch::Tensor& b) {
  constexpr double kLeast = -1e5;  // exp of it is nothing in every type
  const auto sum = torch::logaddexp(a.clamp_min(kLeast), b.clamp_min(kLeast));
  return sum.masked_fill(sum < kLeast / 2, kNever);
}

void check_end(const char* name, double value) {
  require(value > 0 && value < 1, "process: {} is {}, expected between 0 and 1", name, value);
}

}  // namespace

MaskReplaceProcess::MaskReplaceProcess(std::int64_t codes, bool has_mask, std::vector<double> kept,
                                       std::vector<double> masked)
    : codes_(codes), has_mask_(has_mask), kept_(std::move(kept)), masked_(std::move(masked)), impossible_(kNever) {
  for (std::size_t t = 1; t < kept_.size(); ++t) {
    require(
        kept_[t] <= kept_[t - 1] && masked_[t] >= masked_[t - 1] && kept_[t] + masked_[t] <= 1 + 1e-12,
        "process: at step {} alpha is {} and gamma {}, expected alpha to fall, gamma to rise, and at most 1 together",
        t, kept_[t], masked_[t]);
  }
}

MaskReplaceProcess::MaskReplaceProcess(std::int64_t codes, std::int64_t steps, const MaskReplaceSchedule& schedule)
    : MaskReplaceProcess(
          (check_sizes(codes, steps), check_end("alpha_cum_start", schedule.alpha_start),
           check_end("alpha_cum_end", schedule.alpha_end), check_end("gamma_cum_start", schedule.gamma_start),
           check_end("gamma_cum_end", schedule.gamma_end), codes),
          true, with_line(1, schedule.alpha_start, schedule.alpha_end, steps),
          with_line(0, schedule.gamma_start, schedule.gamma_end, steps)) {}

MaskReplaceProcess MaskReplaceProcess::uniform(std::int64_t codes, std::int64_t steps) {
  check_sizes(codes, steps);
  constexpr double kOffset = 0.008;
  const auto level = [&](std::int64_t t) {
    const double share = static_cast<double>(t) / static_cast<double>(steps);
    const double cosine = std::cos((share + kOffset) / (1 + kOffset) * std::numbers::pi / 2);
    return cosine * cosine;
  };
  std::vector<double> kept = {1};
  for (std::int64_t t = 1; t <= steps; ++t) kept.push_back(t == steps ? 0 : level(t) / level(0));
  return {codes, false, kept, std::vector<double>(kept.size(), 0)};
}

MaskReplaceProcess MaskReplaceProcess::uniform(std::int64_t codes, const std::vector<double>& kept) {
  check_sizes(codes, static_cast<std::int64_t>(kept.size()) - 1);
  require(kept.front() == 1 && kept.back() >= 0, "process: kept from {} to {}, expected from 1 to 0 or more",
          kept.front(), kept.back());
  return {codes, false, kept, std::vector<double>(kept.size(), 0)};
}

MaskReplaceProcess MaskReplaceProcess::absorbing(std::int64_t codes, std::int64_t steps) {
  check_sizes(codes, steps);
  std::vector<double> kept, masked;
  for (std::int64_t t = 0; t <= steps; ++t) {
    masked.push_back(static_cast<double>(t) / static_cast<double>(steps));
    kept.push_back(1 - masked.back());
  }
  return {codes, true, kept, masked};
}

EvenStep MaskReplaceProcess::step(std::int64_t s, std::int64_t t) const {
  require(s >= 0 && s <= t && t <= total_steps(), "process: a step from time {} to {}, expected 0 <= s <= t <= {}", s,
          t, total_steps());
  const auto ratio = [](double now, double before) { return before > 0 ? now / before : 1; };
  const auto at = [](std::int64_t time) { return static_cast<std::size_t>(time); };
  const double alpha = s == t ? 1 : ratio(kept_[at(t)], kept_[at(s)]);
  const double gamma = s == t ? 0 : 1 - ratio(1 - masked_[at(t)], 1 - masked_[at(s)]);
  // What rounding leaves of nothing is nothing: absorbing has no replacement.
  const double rest = 1 - alpha - gamma;
  const double beta = rest > 1e-14 ? rest / static_cast<double>(codes_) : 0;
  return {alpha, beta, gamma};
}

std::optional<EvenStep> MaskReplaceProcess::even_step(std::int64_t s, std::int64_t t) const {
  if (impossible_ != kNever) return std::nullopt;
  return step(s, t);
}

Noised MaskReplaceProcess::q_sample(const torch::Tensor& given, const torch::Tensor& t,
                                    const torch::Tensor& uniforms) const {
  require(given.dim() == 2 && uniforms.sizes() == given.sizes() && t.dim() == 1 && t.size(0) == given.size(0),
          "process: expected x0 and uniforms [N, L] and t [N]");
  const auto x0 = given.to(torch::kCPU).contiguous();
  const auto points = uniforms.to(torch::kCPU, torch::kFloat64).contiguous();
  const auto times = t.to(torch::kCPU).contiguous();
  auto tokens = torch::empty_like(x0);
  const auto cells = x0.size(1);
  for (std::int64_t n = 0; n < x0.size(0); ++n) {
    const auto now = step(0, times.data_ptr<std::int64_t>()[n]);
    const double codes = static_cast<double>(codes_) * now.beta + now.alpha, all = codes + now.gamma;
    for (std::int64_t cell = 0; cell < cells; ++cell) {
      const auto code = x0.data_ptr<std::int64_t>()[n * cells + cell];
      const double point = points.data_ptr<double>()[n * cells + cell] * all;
      const double below = static_cast<double>(code) * now.beta, own = below + now.alpha + now.beta;
      auto& drawn = tokens.data_ptr<std::int64_t>()[n * cells + cell];
      if (has_mask_ && point >= codes) {
        drawn = codes_;
      } else if (point < below) {
        drawn = std::min(code - 1, static_cast<std::int64_t>(point / now.beta));
      } else if (point < own || code + 1 == codes_) {
        drawn = code;
      } else {
        drawn = std::min(codes_ - 1, code + 1 + static_cast<std::int64_t>((point - own) / now.beta));
      }
    }
  }
  tokens = tokens.to(given.device());
  return {tokens, tokens != given};
}

MaskReplaceProcess::Logs MaskReplaceProcess::logs(const torch::Tensor& s, const torch::Tensor& t,
                                                  const torch::TensorOptions& options) const {
  const auto from = s.to(torch::kCPU).contiguous(), to = t.to(torch::kCPU).contiguous();
  require(from.dim() == 1 && from.sizes() == to.sizes(), "process: expected times s and t [N]");
  auto table = torch::empty({4, from.size(0), 1}, torch::kFloat64);
  auto values = table.accessor<double, 3>();
  for (std::int64_t n = 0; n < from.size(0); ++n) {
    const auto now = step(from.data_ptr<std::int64_t>()[n], to.data_ptr<std::int64_t>()[n]);
    values[0][n][0] = std::log(now.alpha);
    values[1][n][0] = std::log(now.alpha + now.beta);
    values[2][n][0] = std::log(now.beta);
    values[3][n][0] = std::log(now.gamma);
  }
  table = table.to(options);
  return {table[0], table[1], table[2], table[3]};
}

torch::Tensor MaskReplaceProcess::log_likelihood(const torch::Tensor& xt, const torch::Tensor& s,
                                                 const torch::Tensor& t) const {
  const auto options = torch::TensorOptions(torch::kFloat64).device(xt.device());
  const auto log = logs(s, t, options);
  const auto masked = xt == codes_;
  // Of the codes: the same one may have stayed, any one may have been replaced; MASK comes of all alike.
  const auto other = torch::where(masked, log.gamma, log.beta);
  const auto same = torch::where(masked, log.gamma, log.same);
  auto result = other.unsqueeze(2).repeat({1, 1, states()});
  result.scatter_(2, xt.clamp_max(codes_ - 1).unsqueeze(2), same.unsqueeze(2));
  if (has_mask_) {
    const auto from_mask = torch::where(masked, torch::zeros_like(other), torch::full_like(other, impossible_));
    result.select(2, codes_).copy_(from_mask);
  }
  return result;
}

torch::Tensor MaskReplaceProcess::log_transition(const torch::Tensor& xs, const torch::Tensor& s,
                                                 const torch::Tensor& t) const {
  const auto options = torch::TensorOptions(torch::kFloat64).device(xs.device());
  const auto log = logs(s, t, options);
  const auto masked = xs == codes_;
  const auto never = torch::full(xs.sizes(), kNever, options);
  auto result = torch::where(masked, never, log.beta).unsqueeze(2).repeat({1, 1, states()});
  result.scatter_(2, xs.clamp_max(codes_ - 1).unsqueeze(2), torch::where(masked, never, log.same).unsqueeze(2));
  if (has_mask_) result.select(2, codes_).copy_(torch::where(masked, torch::zeros_like(never), log.gamma));
  return result;
}

torch::Tensor MaskReplaceProcess::log_spread(const torch::Tensor& log_p, const torch::Tensor& t) const {
  const auto log = logs(torch::zeros_like(t), t, log_p.options().requires_grad(false));
  const auto total = log_p.logsumexp({-1}, true);
  const auto codes = add_logs(log_p + log.alpha.unsqueeze(2), total + log.beta.unsqueeze(2));
  return has_mask_ ? torch::cat({codes, total + log.gamma.unsqueeze(2)}, 2) : codes;
}

}  // namespace tessera
