#include "diffusion/even_reverse.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "runtime/error.h"

namespace tessera {
namespace {

/// One state of a cell by inverse distribution function. In: p [codes], probabilities of x_0, overwritten.
std::int64_t draw_cell(const EvenReverse& cell, std::int64_t codes, double* p, bool has_mask, double share) {
  double sum = 0;
  for (std::int64_t j = 0; j < codes; ++j) sum += j == cell.at ? 0 : p[j];
  sum *= cell.other;
  if (cell.at >= 0) sum += cell.same * p[cell.at];
  const double keep = cell.keep * cell.other * cell.likelihood_other;
  const double more = cell.spread * sum * cell.likelihood_other;
  const double own = cell.at < 0 ? 0 : (cell.keep * cell.same * p[cell.at] + cell.spread * sum) * cell.likelihood_same;
  for (std::int64_t j = 0; j < codes; ++j) p[j] = keep * p[j] + more;
  if (cell.at >= 0) p[cell.at] = own;
  double total = has_mask && cell.at < 0 ? sum * cell.masked : 0;
  for (std::int64_t j = 0; j < codes; ++j) total += p[j];
  // Where truncation has left nothing possible, the cell stays what it is.
  if (!(total > 0)) return cell.at >= 0 ? cell.at : codes;
  const double point = share * total;
  double below = 0;
  std::int64_t possible = codes;
  for (std::int64_t j = 0; j < codes; ++j) {
    below += p[j];
    if (below > point) return j;
    if (p[j] > 0) possible = j;
  }
  return has_mask && cell.at < 0 ? codes : possible;
}

}  // namespace

EvenReverse even_reverse(const EvenStep& before, const EvenStep& until, const EvenStep& last, std::int64_t xt,
                         std::int64_t codes) {
  const auto inverse = [](double value) { return value > 0 ? 1 / value : 0; };
  EvenReverse made{};
  made.keep = before.alpha;
  made.spread = before.beta;
  made.masked = before.gamma;
  if (xt == codes) {
    made.at = -1;
    made.other = made.same = inverse(until.gamma);
    made.likelihood_other = made.likelihood_same = last.gamma;
  } else {
    made.at = xt;
    made.other = inverse(until.beta);
    made.same = inverse(until.alpha + until.beta);
    made.likelihood_other = last.beta;
    made.likelihood_same = last.alpha + last.beta;
  }
  return made;
}

bool has_even_reverse(const Process& process, const torch::Tensor& log_p) {
  return log_p.is_cpu() && log_p.scalar_type() == torch::kFloat64 && process.even_step(0, 1).has_value();
}

torch::Tensor draw_even_reverse(const Process& process, const torch::Tensor& xt, const torch::Tensor& log_p,
                                std::int64_t s, std::int64_t t, const torch::Tensor& uniforms) {
  const auto codes = process.codebook_size();
  require(xt.dim() == 1 && log_p.dim() == 2 && log_p.size(0) == xt.size(0) && log_p.size(1) == codes &&
              uniforms.sizes() == xt.sizes(),
          "process: expected x_t and uniforms [M] and log probabilities [M, {}]", codes);
  const auto before = *process.even_step(0, s), until = *process.even_step(0, t), last = *process.even_step(s, t);
  const auto tokens = xt.contiguous();
  const auto points = uniforms.to(torch::kFloat64).contiguous();
  auto drawn = torch::empty_like(tokens);
  const auto count = tokens.size(0);
  at::parallel_for(0, (count + kCellsAtOnce - 1) / kCellsAtOnce, 1, [&](std::int64_t from, std::int64_t to) {
    const torch::NoGradGuard no_grad;
    for (auto block = from; block < to; ++block) {
      const auto begin = block * kCellsAtOnce, here = std::min(kCellsAtOnce, count - begin);
      const auto p = log_p.narrow(0, begin, here).exp().contiguous();
      for (std::int64_t i = 0; i < here; ++i) {
        const auto cell = even_reverse(before, until, last, tokens.data_ptr<std::int64_t>()[begin + i], codes);
        drawn.data_ptr<std::int64_t>()[begin + i] = draw_cell(cell, codes, p.data_ptr<double>() + i * codes,
                                                              process.has_mask(), points.data_ptr<double>()[begin + i]);
      }
    }
  });
  return drawn;
}

}  // namespace tessera
