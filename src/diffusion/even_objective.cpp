#include "diffusion/even_objective.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "diffusion/even_reverse.h"
#include "runtime/error.h"

namespace tessera {
namespace {

constexpr double kNothing = 1e-30;  // the published probability of the impossible

/// One picture's steps, and what its cells' terms are multiplied with.
struct Picture {
  EvenStep before, until, last;  // 0 to t - 1, 0 to t, t - 1 to t
  bool first;                    // t = 1
  double chance, pace;           // p_t; the auxiliary term's weight
};

/// A cell that is no MASK is what it was at time 0: nothing is left to predict.
bool is_settled(const Picture& picture) {
  return picture.until.beta == 0;
}

double floored(double log_p) {
  return std::clamp(log_p, kLowestLog, 0.0);
}

bool within(double log_p) {
  return log_p >= kLowestLog && log_p <= 0;
}

/// log q(x_{t-1} | x_t, x_0) by kind of state, floored.
struct Known {
  double other, start, at, mask;  // any code, x_0, x_t (equal to start where x_t = x_0), MASK
};

Known known_of(const EvenReverse& reverse, std::int64_t x0, std::int64_t codes) {
  const bool stayed = reverse.at == x0;
  const double rest = kNothing * reverse.other, own = stayed ? reverse.same : reverse.other;
  double sum = own + rest * static_cast<double>(codes - (reverse.at >= 0 && !stayed ? 2 : 1));
  if (reverse.at >= 0 && !stayed) sum += kNothing * reverse.same;
  const auto value = [&](double weight, double likelihood) {
    return floored(std::log(reverse.keep * weight + reverse.spread * sum) + std::log(likelihood));
  };
  Known made{};
  made.other = value(rest, reverse.likelihood_other);
  made.start = value(own, stayed ? reverse.likelihood_same : reverse.likelihood_other);
  made.at = stayed ? made.start : value(kNothing * reverse.same, reverse.likelihood_same);
  made.mask = reverse.at < 0 ? floored(std::log(sum * reverse.masked)) : kLowestLog;
  return made;
}

/// Sums in eight parts, so that the compiler may add them side by side.
template <typename Real, typename Value>
double sum_over(std::int64_t count, const Value& value) {
  std::array<Real, 8> parts{};
  std::int64_t j = 0;
  for (; j + 8 <= count; j += 8) {
    for (std::size_t lane = 0; lane < 8; ++lane) parts[lane] += value(j + static_cast<std::int64_t>(lane));
  }
  double sum = 0;
  for (const Real part : parts) sum += static_cast<double>(part);
  for (; j < count; ++j) sum += static_cast<double>(value(j));
  return sum;
}

/// A cell on its way through the passes.
struct Cell {
  EvenReverse reverse;
  Known known;
  double sum;  // of r p over the codes
};

/// out [K]: keep r p + spread sum, whose logarithm is to be taken.
template <typename Real>
void mix(Cell& cell, std::int64_t codes, const Real* p, Real* out) {
  const auto& reverse = cell.reverse;
  const auto part = [&](std::int64_t begin, std::int64_t end) {
    return sum_over<double>(end - begin, [&](std::int64_t j) { return static_cast<double>(p[begin + j]); });
  };
  if (reverse.at < 0) {
    cell.sum = reverse.other * part(0, codes);
  } else {  // not the whole sum less x_t's part: r differs by orders of magnitude
    cell.sum = reverse.other * (part(0, reverse.at) + part(reverse.at + 1, codes)) +
               reverse.same * static_cast<double>(p[reverse.at]);
  }
  const auto keep = static_cast<Real>(reverse.keep * reverse.other),
             more = static_cast<Real>(reverse.spread * cell.sum);
  for (std::int64_t j = 0; j < codes; ++j) out[j] = keep * p[j] + more;
  if (reverse.at >= 0) out[reverse.at] = static_cast<Real>(reverse.keep * reverse.same) * p[reverse.at] + more;
}

struct CellTerms {
  double kl, nll, auxiliary;  // nats, unweighted
};

template <typename Real>
struct Row {
  const Real* log_p;      // [K] before the floor
  const Real* p;          // [K]
  const Real* mixed;      // [K] of mix
  const Real* log_mixed;  // [K]
};

/// log p(x_{t-1} = j | x_t), not floored.
template <typename Real>
double model_at(const Cell& cell, const Row<Real>& row, std::int64_t j) {
  return static_cast<double>(row.log_mixed[j]) +
         std::log(j == cell.reverse.at ? cell.reverse.likelihood_same : cell.reverse.likelihood_other);
}

double model_of_mask(const Cell& cell) {
  return cell.reverse.at < 0 ? std::log(cell.sum * cell.reverse.masked) : kLowestLog - 1;
}

template <typename Real>
CellTerms terms_of(const Cell& cell, const Row<Real>& row, std::int64_t codes, std::int64_t x0, bool has_mask) {
  const auto& known = cell.known;
  const auto shift = static_cast<Real>(std::log(cell.reverse.likelihood_other));
  const auto lowest = static_cast<Real>(kLowestLog), highest = Real{0};
  const double others = sum_over<Real>(
      codes, [&](std::int64_t j) { return std::min(std::max(row.log_mixed[j] + shift, lowest), highest); });
  const auto as_other = [&](std::int64_t j) {
    return static_cast<double>(std::min(std::max(row.log_mixed[j] + shift, lowest), highest));
  };
  double special = as_other(x0);
  auto count = static_cast<double>(codes - 1);
  const double start = floored(model_at(cell, row, x0));
  double kl = std::exp(known.start) * (known.start - start);
  if (cell.reverse.at >= 0 && cell.reverse.at != x0) {
    special += as_other(cell.reverse.at);
    count -= 1;
    kl += std::exp(known.at) * (known.at - floored(model_at(cell, row, cell.reverse.at)));
  }
  kl += std::exp(known.other) * (count * known.other - (others - special));
  if (has_mask) kl += std::exp(known.mask) * (known.mask - floored(model_of_mask(cell)));
  return {kl, -start, -std::max(kLowestLog, static_cast<double>(row.log_p[x0]))};
}

/// out [K]: the gradient of bound_weight (kl or, first, nll) + auxiliary_weight (auxiliary; first: none) in the logits.
template <typename Real>
void gradient_of(const Cell& cell, const Row<Real>& row, std::int64_t codes, std::int64_t x0, bool first,
                 double bound_weight, double auxiliary_weight, Real* out) {
  const auto& reverse = cell.reverse;
  // In log p(x_{t-1} = j), over the mixed probability: the gradient in that.
  const auto of = [&](double amount, std::int64_t j) {
    return within(model_at(cell, row, j)) ? -bound_weight * amount / static_cast<double>(row.mixed[j]) : 0.0;
  };
  if (first) {
    std::fill(out, out + codes, Real{0});
    out[x0] = static_cast<Real>(of(1, x0));
  } else {
    const auto shift = static_cast<Real>(std::log(reverse.likelihood_other));
    const auto lowest = static_cast<Real>(kLowestLog);
    const auto amount = static_cast<Real>(-bound_weight * std::exp(cell.known.other));
    for (std::int64_t j = 0; j < codes; ++j) {
      const Real value = row.log_mixed[j] + shift;
      const bool counts = value >= lowest && value <= Real{0};
      out[j] = (counts ? amount : Real{0}) / (counts ? row.mixed[j] : Real{1});
    }
    out[x0] = static_cast<Real>(of(std::exp(cell.known.start), x0));
    if (reverse.at >= 0 && reverse.at != x0)
      out[reverse.at] = static_cast<Real>(of(std::exp(cell.known.at), reverse.at));
  }
  // Back through the mixture to log p(x_0 = j).
  double shared = reverse.spread * sum_over<Real>(codes, [&](std::int64_t j) { return out[j]; });
  if (!first && reverse.at < 0 && within(model_of_mask(cell))) {
    shared -= bound_weight * std::exp(cell.known.mask) / cell.sum;
  }
  const auto keep = static_cast<Real>(reverse.keep), more = static_cast<Real>(shared);
  const auto weight = static_cast<Real>(reverse.other), lowest = static_cast<Real>(kLowestLog);
  const Real own = reverse.at >= 0 ? out[reverse.at] : Real{0};
  for (std::int64_t j = 0; j < codes; ++j) {
    const Real value = weight * row.p[j] * (keep * out[j] + more);
    out[j] = row.log_p[j] >= lowest ? value : Real{0};
  }
  if (reverse.at >= 0) {
    const Real value = static_cast<Real>(reverse.same) * row.p[reverse.at] * (keep * own + more);
    out[reverse.at] = row.log_p[reverse.at] >= lowest ? value : Real{0};
  }
  if (!first && row.log_p[x0] >= lowest) out[x0] -= static_cast<Real>(auxiliary_weight);
  // And through the softmax.
  const auto total = static_cast<Real>(sum_over<Real>(codes, [&](std::int64_t j) { return out[j]; }));
  for (std::int64_t j = 0; j < codes; ++j) out[j] -= total * row.p[j];
}

struct Result {
  torch::Tensor cells;     // [3, N * L] float64: kl, nll, auxiliary
  torch::Tensor gradient;  // [N * L, K] of the loss, where asked for
};

template <typename Real>
Result compute(const std::vector<Picture>& pictures, const ObjectiveOptions& options, bool has_mask,
               const torch::Tensor& x0, const torch::Tensor& xt, const torch::Tensor& logits, bool with_gradient) {
  const auto cells = logits.size(1), codes = logits.size(2), all = logits.size(0) * cells;
  const auto flat = logits.detach().reshape({all, codes});
  const auto start = x0.contiguous(), noised = xt.contiguous();
  Result result{torch::empty({3, all}, torch::kFloat64), {}};
  if (with_gradient) result.gradient = torch::empty_like(flat);
  auto* kl = result.cells.data_ptr<double>();
  at::parallel_for(0, (all + kCellsAtOnce - 1) / kCellsAtOnce, 1, [&](std::int64_t from, std::int64_t to) {
    const torch::NoGradGuard no_grad;
    std::array<Cell, kCellsAtOnce> here{};
    for (auto block = from; block < to; ++block) {
      const auto begin = block * kCellsAtOnce, count = std::min(kCellsAtOnce, all - begin);
      const auto log_p = torch::log_softmax(flat.narrow(0, begin, count), -1);
      const auto p = log_p.clamp_min(kLowestLog).exp_();
      const auto mixed = torch::empty_like(p);
      for (std::int64_t i = 0; i < count; ++i) {
        auto& cell = here[static_cast<std::size_t>(i)];
        const auto& picture = pictures[static_cast<std::size_t>((begin + i) / cells)];
        cell.reverse = even_reverse(picture.before, picture.until, picture.last,
                                    noised.data_ptr<std::int64_t>()[begin + i], codes);
        cell.known = known_of(cell.reverse, start.data_ptr<std::int64_t>()[begin + i], codes);
        mix(cell, codes, p.data_ptr<Real>() + i * codes, mixed.data_ptr<Real>() + i * codes);
      }
      const auto log_mixed = mixed.log();
      for (std::int64_t i = 0; i < count; ++i) {
        const auto& cell = here[static_cast<std::size_t>(i)];
        const auto& picture = pictures[static_cast<std::size_t>((begin + i) / cells)];
        if (cell.reverse.at >= 0 && is_settled(picture)) {
          for (std::int64_t term = 0; term < 3; ++term) kl[term * all + begin + i] = 0;
          if (with_gradient) std::fill_n(result.gradient.data_ptr<Real>() + (begin + i) * codes, codes, Real{0});
          continue;
        }
        const auto x = start.data_ptr<std::int64_t>()[begin + i];
        const Row<Real> row{log_p.data_ptr<Real>() + i * codes, p.data_ptr<Real>() + i * codes,
                            mixed.data_ptr<Real>() + i * codes, log_mixed.data_ptr<Real>() + i * codes};
        const auto terms = terms_of(cell, row, codes, x, has_mask);
        kl[begin + i] = terms.kl;
        kl[all + begin + i] = terms.nll;
        kl[2 * all + begin + i] = terms.auxiliary;
        if (!with_gradient) continue;
        const double weight = cell.reverse.at < 0 ? options.mask_weight : options.kept_weight;
        const double bound = picture.first ? 1 + picture.pace : weight;
        gradient_of(cell, row, codes, x, picture.first, bound / picture.chance, picture.pace * weight / picture.chance,
                    result.gradient.data_ptr<Real>() + (begin + i) * codes);
      }
    }
  });
  return result;
}

/// Gives the loss [N] its gradient, which is already there.
struct WithGradient : public torch::autograd::Function<WithGradient> {
  static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& logits,
                               const torch::Tensor& loss, const torch::Tensor& gradient) {
    context->save_for_backward({gradient});
    context->saved_data["sizes"] = logits.sizes().vec();
    return loss.clone();
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto gradient = context->get_saved_variables()[0].view(context->saved_data["sizes"].toIntVector());
    return {gradient * gradients[0].view({-1, 1, 1}).to(gradient.scalar_type()), torch::Tensor(), torch::Tensor()};
  }
};

}  // namespace

bool has_even_objective(const Process& process, const torch::Tensor& logits) {
  return logits.is_cpu() && (logits.scalar_type() == torch::kFloat || logits.scalar_type() == torch::kFloat64) &&
         process.even_step(0, 1).has_value();
}

ObjectiveSums even_objective(const Process& process, const ObjectiveOptions& options, const torch::Tensor& x0,
                             const torch::Tensor& xt, const torch::Tensor& logits, const torch::Tensor& t,
                             const torch::Tensor& p_t) {
  const auto codes = process.codebook_size();
  require(logits.dim() == 3 && logits.size(2) == codes && xt.sizes() == x0.sizes() && x0.dim() == 2 &&
              x0.size(0) == logits.size(0) && x0.size(1) == logits.size(1),
          "objective: expected x0 and xt [N, L] and logits [N, L, {}]", codes);
  require(t.dim() == 1 && t.size(0) == x0.size(0) && p_t.sizes() == t.sizes(), "objective: expected t and p_t [N]");
  const auto total = process.total_steps();
  std::vector<Picture> pictures;
  const auto times = t.to(torch::kCPU), chances = p_t.to(torch::kCPU, torch::kFloat64);
  for (std::int64_t n = 0; n < times.size(0); ++n) {
    const auto at = times[n].item<std::int64_t>();
    require(at >= 1 && at <= total, "objective: time {}, expected 1 to {}", at, total);
    const double pace = options.adaptive ? 2 - static_cast<double>(at - 1) / static_cast<double>(total) : 1;
    pictures.push_back({*process.even_step(0, at - 1), *process.even_step(0, at), *process.even_step(at - 1, at),
                        at == 1, chances[n].item<double>(), pace * options.auxiliary_weight});
  }
  const bool with_gradient = torch::GradMode::is_enabled() && logits.requires_grad();
  const auto result = logits.scalar_type() == torch::kFloat
                          ? compute<float>(pictures, options, process.has_mask(), x0, xt, logits, with_gradient)
                          : compute<double>(pictures, options, process.has_mask(), x0, xt, logits, with_gradient);
  const auto weights =
      (xt == codes).to(torch::kFloat64) * (options.mask_weight - options.kept_weight) + options.kept_weight;
  const auto terms = result.cells.view({3, x0.size(0), x0.size(1)});
  const auto nll = terms[1].sum(1), auxiliary = (terms[2] * weights).sum(1);
  const auto first = times == 1;
  ObjectiveSums sums;
  sums.cells = x0.size(1);
  const auto bound = torch::where(first, nll, (terms[0] * weights).sum(1));
  auto pace = torch::empty_like(bound);
  for (std::int64_t n = 0; n < pace.size(0); ++n) pace[n] = pictures[static_cast<std::size_t>(n)].pace;
  const auto loss = ((bound + pace * torch::where(first, nll, auxiliary)) / chances).to(logits.scalar_type());
  sums.bound = bound.to(logits.scalar_type());
  sums.loss = with_gradient ? WithGradient::apply(logits, loss, result.gradient) : loss;
  return sums;
}

}  // namespace tessera
