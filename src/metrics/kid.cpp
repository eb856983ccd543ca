#include "metrics/kid.h"

#include <cmath>
#include <vector>

#include "metrics/feature_rows.h"
#include "runtime/error.h"

namespace tessera {
namespace {

/// The kernel of all pairs, [n, m] float64.
torch::Tensor kernel_of(const torch::Tensor& x, const torch::Tensor& y) {
  const auto base = torch::mm(x, y.t()).to(torch::kFloat64).div_(static_cast<double>(x.size(1))).add_(1.0);
  return base * base * base;
}

/// Sum of the kernel over all pairs; without the pairs of a row with itself where `same`.
double kernel_sum(const torch::Tensor& x, const torch::Tensor& y, bool same) {
  const auto kernel = kernel_of(x, y);
  const double total = kernel.sum().item<double>();
  return same ? total - kernel.diagonal().sum().item<double>() : total;
}

}  // namespace

void KidOptions::validate() const {
  if (subsets < 1) throw UsageError(fmt::format("KID: {} subsets, expected 1 or more", subsets));
  if (subset_size < 2) throw UsageError(fmt::format("KID: subsets of {}, expected 2 or more", subset_size));
}

double squared_mmd(const torch::Tensor& x, const torch::Tensor& y) {
  require_features(x, y, 2);
  const auto n = static_cast<double>(x.size(0)), m = static_cast<double>(y.size(0));
  return kernel_sum(x, x, true) / (n * (n - 1)) + kernel_sum(y, y, true) / (m * (m - 1)) -
         2 * kernel_sum(x, y, false) / (n * m);
}

MmdEstimate squared_mmd_with_error(const torch::Tensor& x, const torch::Tensor& y) {
  require_features(x, y, 2);
  const auto n = static_cast<double>(x.size(0));
  const auto own = kernel_of(x, x);
  const auto others = (own.sum(1) - own.diagonal()) / (n - 1);
  const auto terms = 2 * (others - kernel_of(x, y).mean(1));
  return {squared_mmd(x, y), terms.std().item<double>() / std::sqrt(n)};
}

Kid kid(const torch::Tensor& real, const torch::Tensor& fake, const KidOptions& options) {
  options.validate();
  require_features(real, fake, 2);
  const auto smaller = std::min(real.size(0), fake.size(0));
  require(smaller >= options.subset_size, "KID: {} rows in the smaller set, expected at least the subset size {}",
          smaller, options.subset_size);
  std::vector<double> values;
  for (std::int64_t subset = 0; subset < options.subsets; ++subset) {
    const auto draw = [&](const torch::Tensor& rows, std::uint64_t number) {
      return rows.index_select(0, random_subset(rows.size(0), options.subset_size, options.seed, number));
    };
    const auto number = static_cast<std::uint64_t>(subset);
    values.push_back(squared_mmd(draw(real, 2 * number), draw(fake, 2 * number + 1)));
  }
  const auto all = torch::tensor(values, torch::kFloat64);
  return {all.mean().item<double>(), all.std(false).item<double>()};
}

}  // namespace tessera
