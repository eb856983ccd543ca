#include "metrics/caption_retrieval.h"

#include <cmath>

#include "metrics/feature_rows.h"
#include "runtime/error.h"

namespace tessera {
namespace {

/// P(X >= hits) of a binomial with n draws of probability p.
double binomial_tail(std::int64_t hits, std::int64_t n, double p) {
  double total = 0;
  const auto count = static_cast<double>(n);
  for (auto k = hits; k <= n; ++k) {
    const auto at = static_cast<double>(k);
    const double choices = std::lgamma(count + 1) - std::lgamma(at + 1) - std::lgamma(count - at + 1);
    total += std::exp(choices + at * std::log(p) + (count - at) * std::log1p(-p));
  }
  return std::min(total, 1.0);
}

}  // namespace

CaptionRetrieval caption_retrieval(const torch::Tensor& real, const torch::Tensor& made, double confidence) {
  require(real.dim() == 2 && made.dim() == 3 && made.size(0) == real.size(0) && made.size(2) == real.size(1) &&
              made.size(1) >= 1,
          "caption retrieval: expected features [N, D] of the pictures and [N, G, D] of what was made");
  require_features(real, made.flatten(0, 1), 2);
  const auto count = real.size(0), each = made.size(1);
  const auto distances =
      torch::cdist(real.to(torch::kFloat64), made.flatten(0, 1).to(torch::kFloat64), 2.0,
                   2)  // 2: not through a product of the rows, whose rounding equal pictures would show
          .view({count, count, each})
          .mean(2);  // [picture, caption]
  const auto own = distances.diagonal().unsqueeze(1);
  const auto nearer = (distances < own).sum(1).to(torch::kFloat64);
  const auto tied = (distances == own).sum(1).to(torch::kFloat64) - 1;
  CaptionRetrieval result;
  result.ranks = 1 + nearer + tied / 2;
  result.nearest = distances.argmin(1);
  const auto hits = ((nearer == 0) & (tied == 0)).sum().item<std::int64_t>();
  result.top1 = proportion_interval(hits, count, confidence);
  result.mean_rank = interval_of(result.ranks, confidence);
  result.chance_top1 = 1 / static_cast<double>(count);
  result.chance_mean_rank = static_cast<double>(count + 1) / 2;
  result.chance_of_top1 = binomial_tail(hits, count, result.chance_top1);
  return result;
}

}  // namespace tessera
