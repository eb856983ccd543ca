#include "diffusion/structured.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

#include "runtime/error.h"

namespace tessera {
namespace {

constexpr std::int64_t kMostCodes = 1 << 14;
constexpr std::size_t kKeptBytes = std::size_t{256} << 20;

}  // namespace

StructuredProcess::StructuredProcess(std::int64_t codes, std::int64_t steps) : codes_(codes), steps_(steps) {
  require(codes >= 2 && codes <= kMostCodes, "process: codebook_size is {}, expected 2 to {}", codes, kMostCodes);
  require(steps >= 1 && steps <= (1 << 20), "process: total_steps is {}, expected 1 to {}", steps, 1 << 20);
}

torch::Tensor StructuredProcess::matrix(std::int64_t s, std::int64_t t) const {
  require(s >= 0 && s <= t && t <= steps_, "process: a step from time {} to {}, expected 0 <= s <= t <= {}", s, t,
          steps_);
  const std::lock_guard lock(mutex_);
  const auto key = std::pair(s, t);
  if (const auto found = kept_.find(key); found != kept_.end()) return found->second;
  const auto most = std::max<std::size_t>(4, kKeptBytes / (8 * static_cast<std::size_t>(codes_ * codes_)));
  if (kept_.size() >= most) kept_.clear();
  const auto made = apply(torch::eye(codes_, torch::kFloat64), s, t);
  kept_.emplace(key, made);
  return made;
}

torch::Tensor StructuredProcess::log_transition(const torch::Tensor& xs, const torch::Tensor& s,
                                                const torch::Tensor& t) const {
  return log_rows(xs, s, t, false);
}

torch::Tensor StructuredProcess::log_likelihood(const torch::Tensor& xt, const torch::Tensor& s,
                                                const torch::Tensor& t) const {
  return log_rows(xt, s, t, true);  // steps at the ends of the order do not commute: the product is not symmetric
}

torch::Tensor StructuredProcess::log_rows(const torch::Tensor& tokens, const torch::Tensor& s, const torch::Tensor& t,
                                          bool transposed) const {
  const auto from = s.to(torch::kCPU).contiguous(), to = t.to(torch::kCPU).contiguous();
  std::vector<torch::Tensor> rows;
  for (std::int64_t n = 0; n < tokens.size(0); ++n) {
    const auto q = matrix(from.data_ptr<std::int64_t>()[n], to.data_ptr<std::int64_t>()[n]);
    rows.push_back((transposed ? q.t() : q).index_select(0, tokens[n].to(torch::kCPU)).log());
  }
  return torch::stack(rows).to(tokens.device());
}

torch::Tensor StructuredProcess::log_spread(const torch::Tensor& log_p, const torch::Tensor& t) const {
  const auto to = t.to(torch::kCPU).contiguous();
  const auto highest = std::get<0>(log_p.detach().max(-1, true));
  const auto p = (log_p - highest).exp();
  std::vector<torch::Tensor> rows;
  for (std::int64_t n = 0; n < p.size(0); ++n) {
    rows.push_back(torch::matmul(p[n], matrix(0, to.data_ptr<std::int64_t>()[n]).to(p.options().requires_grad(false))));
  }
  // The logarithm of nothing without its infinite slope.
  const auto sums = torch::stack(rows);
  const auto nothing = sums <= 0;
  return sums.masked_fill(nothing, 1).log().masked_fill(nothing, kNever) + highest;
}

GaussianProcess::GaussianProcess(std::int64_t codes, std::int64_t steps, double first, double last)
    : StructuredProcess(codes, steps) {
  constexpr double kSmallest = 1e-30;
  const double pace = 1000.0 / static_cast<double>(steps);
  first = first > 0 ? first : 1e-4 * pace;
  last = last > 0 ? last : 0.02 * pace;
  const auto size = static_cast<double>(codes - 1);
  for (std::int64_t t = 1; t <= steps; ++t) {
    const double share = steps > 1 ? static_cast<double>(t - 1) / static_cast<double>(steps - 1) : 1;
    const double beta = first + share * (last - first);
    std::vector<double> profile;
    double sum = 1;
    for (std::int64_t d = 0; d < codes; ++d) {
      profile.push_back(std::exp(-4 * static_cast<double>(d) * static_cast<double>(d) / (size * size * beta)));
      if (d > 0) sum += 2 * profile.back();
    }
    Profile made;
    for (const double value : profile) {
      if (!made.by_distance.empty() && value / sum < kSmallest) break;
      made.by_distance.push_back(value / sum);
    }
    made.diagonal.assign(static_cast<std::size_t>(codes), 1);
    const auto widest = static_cast<std::int64_t>(made.by_distance.size()) - 1;
    for (std::int64_t i = 0; i < codes; ++i) {
      for (std::int64_t d = 1; d <= widest; ++d) {
        const auto both = (i - d >= 0 ? 1 : 0) + (i + d < codes ? 1 : 0);
        made.diagonal[static_cast<std::size_t>(i)] -= both * made.by_distance[static_cast<std::size_t>(d)];
      }
    }
    profiles_.push_back(std::move(made));
  }
}

std::int64_t GaussianProcess::band(std::int64_t t) const {
  return static_cast<std::int64_t>(profiles_.at(static_cast<std::size_t>(t - 1)).by_distance.size()) - 1;
}

torch::Tensor GaussianProcess::apply(const torch::Tensor& rows, std::int64_t s, std::int64_t t) const {
  const auto codes = codebook_size();
  auto result = rows.contiguous().clone();
  auto* values = result.data_ptr<double>();
  at::parallel_for(0, result.size(0), 1, [&](std::int64_t begin, std::int64_t end) {
    std::vector<double> next(static_cast<std::size_t>(codes));
    for (auto row = begin; row < end; ++row) {
      double* const now = values + row * codes;
      for (auto step = s; step < t; ++step) {
        const auto& profile = profiles_[static_cast<std::size_t>(step)];
        const auto widest = static_cast<std::int64_t>(profile.by_distance.size()) - 1;
        for (std::int64_t j = 0; j < codes; ++j) {
          double sum = now[j] * profile.diagonal[static_cast<std::size_t>(j)];
          for (std::int64_t d = 1; d <= widest; ++d) {
            const double weight = profile.by_distance[static_cast<std::size_t>(d)];
            if (j >= d) sum += weight * now[j - d];
            if (j + d < codes) sum += weight * now[j + d];
          }
          next[static_cast<std::size_t>(j)] = sum;
        }
        std::copy(next.begin(), next.end(), now);
      }
    }
  });
  return result;
}

NearestEmbeddingProcess::NearestEmbeddingProcess(const torch::Tensor& codebook, std::int64_t steps,
                                                 std::int64_t neighbours, double total_rate)
    : StructuredProcess(codebook.size(0), steps) {
  const auto codes = codebook_size();
  require(codebook.dim() == 2, "nearest-embedding process: expected a codebook [K, D]");
  require(neighbours >= 1 && neighbours < codes, "nearest-embedding process: neighbours is {}, expected 1 to {}",
          neighbours, codes - 1);
  const auto points = codebook.detach().to(torch::kCPU, torch::kFloat64);
  std::map<std::pair<std::int64_t, std::int64_t>, double> rates;
  for (std::int64_t i = 0; i < codes; ++i) {
    auto distance = (points - points[i]).square().sum(1);
    distance[i] = -1;  // itself is the first
    const auto nearest = std::get<1>(distance.topk(neighbours + 1, 0, false)).contiguous();
    for (std::int64_t n = 0; n <= neighbours; ++n) {
      const auto j = nearest.data_ptr<std::int64_t>()[n];
      if (j == i) continue;
      const double rate = 1.0 / (2.0 * static_cast<double>(neighbours));
      rates[{i, j}] += rate;
      rates[{j, i}] += rate;
    }
  }
  starts_ = {0};
  leaving_.assign(static_cast<std::size_t>(codes), 0);
  auto next = rates.begin();
  for (std::int64_t i = 0; i < codes; ++i) {
    for (; next != rates.end() && next->first.first == i; ++next) {
      columns_.push_back(next->first.second);
      rates_.push_back(next->second);
      leaving_[static_cast<std::size_t>(i)] += next->second;
    }
    starts_.push_back(static_cast<std::int64_t>(columns_.size()));
  }
  fastest_ = *std::max_element(leaving_.begin(), leaving_.end());

  // All codes must be reached from the first.
  std::vector<bool> seen(static_cast<std::size_t>(codes), false);
  std::vector<std::int64_t> open = {0};
  seen[0] = true;
  std::int64_t reached = 1;
  while (!open.empty()) {
    const auto i = open.back();
    open.pop_back();
    for (auto at = starts_[static_cast<std::size_t>(i)]; at < starts_[static_cast<std::size_t>(i) + 1]; ++at) {
      const auto j = columns_[static_cast<std::size_t>(at)];
      if (seen[static_cast<std::size_t>(j)]) continue;
      seen[static_cast<std::size_t>(j)] = true;
      ++reached;
      open.push_back(j);
    }
  }
  require(reached == codes,
          "nearest-embedding process: with {} neighbours only {} of {} codes are connected; expected more neighbours",
          neighbours, reached, codes);

  total_rate_ = total_rate;
  if (total_rate_ > 0) return;
  // Double the rate until some starting codes have come to the uniform distribution.
  auto rows =
      torch::eye(codes, torch::kFloat64)
          .index_select(0, torch::arange(std::min<std::int64_t>(codes, 16)) * std::max<std::int64_t>(1, codes / 16));
  double added = 1;
  rows = exponential(rows, added);
  total_rate_ = added;
  while ((rows * static_cast<double>(codes) - 1).abs().max().item<double>() > 1e-3 && total_rate_ < 1e6) {
    rows = exponential(rows, total_rate_);
    total_rate_ *= 2;
  }
}

double NearestEmbeddingProcess::accumulated(std::int64_t t) const {
  const double share = static_cast<double>(t) / static_cast<double>(total_steps());
  return total_rate_ * share * share;
}

torch::Tensor NearestEmbeddingProcess::apply(const torch::Tensor& rows, std::int64_t s, std::int64_t t) const {
  return exponential(rows, accumulated(t) - accumulated(s));
}

torch::Tensor NearestEmbeddingProcess::exponential(const torch::Tensor& rows, double rate) const {
  // exp(a R) = sum over n of Poisson(n; a r) (I + R / r)^n, r the fastest rate. In portions, so that exp(-a r) is
  // there.
  constexpr double kPortion = 256, kTail = 1e-18;
  const auto codes = codebook_size();
  auto result = rows.contiguous().clone();
  auto* values = result.data_ptr<double>();
  const auto portions = std::max<std::int64_t>(1, static_cast<std::int64_t>(std::ceil(rate * fastest_ / kPortion)));
  const double mean = rate * fastest_ / static_cast<double>(portions);
  at::parallel_for(0, result.size(0), 1, [&](std::int64_t begin, std::int64_t end) {
    std::vector<double> power(static_cast<std::size_t>(codes)), next(power), sum(power);
    for (auto row = begin; row < end; ++row) {
      double* const now = values + row * codes;
      for (std::int64_t portion = 0; portion < portions; ++portion) {
        std::copy(now, now + codes, power.begin());
        double weight = std::exp(-mean);
        for (std::size_t j = 0; j < power.size(); ++j) sum[j] = weight * power[j];
        for (int n = 1; n < mean || weight > kTail; ++n) {
          for (std::size_t j = 0; j < power.size(); ++j) {
            double total = power[j] * (1 - leaving_[j] / fastest_);
            for (auto at = starts_[j]; at < starts_[j + 1]; ++at) {
              const auto index = static_cast<std::size_t>(at);
              total += rates_[index] / fastest_ * power[static_cast<std::size_t>(columns_[index])];
            }
            next[j] = total;
          }
          power.swap(next);
          weight *= mean / n;
          for (std::size_t j = 0; j < power.size(); ++j) sum[j] += weight * power[j];
        }
        std::copy(sum.begin(), sum.end(), now);
      }
    }
  });
  return result;
}

}  // namespace tessera
