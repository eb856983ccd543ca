#include "metrics/frechet.h"

#include <algorithm>
#include <cmath>

#include "metrics/feature_rows.h"
#include "runtime/error.h"

namespace tessera {
namespace {

constexpr std::int64_t kBlockRows = 4096;    // widened to float64 at a time
constexpr std::int64_t kBlockColumns = 512;  // of the covariance; only its upper blocks are computed

/// Eigenvalues with what is rounding set to 0, and eigenvectors.
std::pair<torch::Tensor, torch::Tensor> spectrum(const torch::Tensor& matrix) {
  const auto [values, vectors] = torch::linalg_eigh(matrix);
  const double largest = std::max(values.max().item<double>(), 0.0);
  const double floor = static_cast<double>(matrix.size(0)) * std::ldexp(1.0, -52) * largest;
  return {torch::where(values > floor, values, torch::zeros_like(values)), vectors};
}

/// F [R, D] with covariance = F^T F.
torch::Tensor factor_of(const torch::Tensor& covariance) {
  const auto [lower, broken] = torch::linalg_cholesky_ex(covariance);
  if (broken.item<std::int64_t>() == 0) {
    // A pivot at the level of rounding means a singular matrix: its column would be noise.
    const auto pivots = lower.diagonal();
    const auto scale = covariance.diagonal().sqrt();
    if ((pivots > 1e-6 * scale).all().item<bool>()) return lower.t();
  }
  const auto [values, vectors] = spectrum(covariance);
  return values.sqrt().unsqueeze(1) * vectors.t();
}

double sum_of_singular_values(const torch::Tensor& a, const torch::Tensor& b) {
  return torch::linalg_svdvals(torch::mm(a, b.t())).sum().item<double>();
}

/// Mean, factor and trace of one set's covariance.
struct Side {
  torch::Tensor mean;    // [D] float64
  torch::Tensor factor;  // [R, D] float64: covariance = factor^T factor
  double trace = 0;
};

Side side_of(const torch::Tensor& features) {
  const auto count = features.size(0);
  if (count > features.size(1)) {
    const auto moments = moments_of(features);
    return {moments.mean, factor_of(moments.covariance), moments.covariance.trace().item<double>()};
  }
  const auto rows = features.to(torch::kFloat64);
  const auto mean = rows.mean(0);
  const auto factor = (rows - mean) / std::sqrt(static_cast<double>(count - 1));
  return {mean, factor, factor.square().sum().item<double>()};
}

double distance(const Side& a, const Side& b) {
  const double means = (a.mean - b.mean).square().sum().item<double>();
  // Rounding alone can take the distance of equal sets below 0.
  return std::max(means + a.trace + b.trace - 2 * sum_of_singular_values(a.factor, b.factor), 0.0);
}

}  // namespace

FeatureMoments moments_of(const torch::Tensor& features) {
  require_features(features, 2, "features");
  const auto count = features.size(0), width = features.size(1);
  FeatureMoments moments;
  moments.count = count;
  moments.mean = features.mean(0, false, torch::kFloat64);
  moments.covariance = torch::zeros({width, width}, torch::kFloat64);
  for (std::int64_t start = 0; start < count; start += kBlockRows) {
    const auto rows = features.slice(0, start, std::min(start + kBlockRows, count)).to(torch::kFloat64) - moments.mean;
    for (std::int64_t i = 0; i < width; i += kBlockColumns) {
      const auto left = rows.slice(1, i, std::min(i + kBlockColumns, width));
      auto into = moments.covariance.slice(0, i, std::min(i + kBlockColumns, width)).slice(1, i, width);
      into.addmm_(left.t(), rows.slice(1, i, width));
    }
  }
  moments.covariance /= static_cast<double>(count - 1);
  const auto upper = moments.covariance.triu();
  moments.covariance = upper + upper.triu(1).t();
  return moments;
}

torch::Tensor symmetric_sqrt(const torch::Tensor& matrix) {
  require(matrix.dim() == 2 && matrix.size(0) == matrix.size(1), "square root: expected a square matrix");
  const auto [values, vectors] = spectrum(matrix.to(torch::kFloat64));
  return torch::mm(vectors * values.sqrt(), vectors.t());
}

double trace_sqrt_product(const torch::Tensor& a, const torch::Tensor& b) {
  return sum_of_singular_values(factor_of(a), factor_of(b));
}

double frechet_distance(const FeatureMoments& a, const FeatureMoments& b) {
  require(a.mean.size(0) == b.mean.size(0), "Fréchet distance: features of width {} and {}", a.mean.size(0),
          b.mean.size(0));
  const auto side = [](const FeatureMoments& of) {
    return Side{of.mean, factor_of(of.covariance), of.covariance.trace().item<double>()};
  };
  return distance(side(a), side(b));
}

double frechet_distance(const torch::Tensor& real, const torch::Tensor& fake) {
  require_features(real, fake, 2);
  return distance(side_of(real), side_of(fake));
}

FidInfinity fid_infinity(const torch::Tensor& real, const torch::Tensor& fake, const FidInfinityOptions& options) {
  require_features(real, fake, 2);
  const auto count = fake.size(0);
  require(count >= 4, "FID-infinity: {} generated rows, expected at least 4", count);
  if (options.points < 3) throw UsageError(fmt::format("FID-infinity: {} points, expected 3 or more", options.points));
  const auto smallest = std::clamp<std::int64_t>(options.smallest, 2, std::max<std::int64_t>(2, count / 2));
  const auto of_real = side_of(real);
  FidInfinity result;
  std::vector<double> inverse;
  for (std::int64_t point = 0; point < options.points; ++point) {
    const auto n = smallest + (count - smallest) * point / (options.points - 1);
    if (!result.counts.empty() && result.counts.back() == n) continue;
    const auto rows = random_subset(count, n, options.seed, static_cast<std::uint64_t>(point));
    result.counts.push_back(n);
    result.fids.push_back(distance(of_real, side_of(fake.index_select(0, rows))));
    inverse.push_back(1.0 / static_cast<double>(n));
  }
  const auto x = torch::tensor(inverse, torch::kFloat64), y = torch::tensor(result.fids, torch::kFloat64);
  const auto centred = x - x.mean();
  const double spread = centred.square().sum().item<double>();
  result.slope = (centred * y).sum().item<double>() / spread;
  result.value = (y.mean() - result.slope * x.mean()).item<double>();
  const auto used = static_cast<double>(inverse.size());
  if (inverse.size() > 2) {
    const double residual = (y - result.value - result.slope * x).square().sum().item<double>() / (used - 2);
    result.standard_error = std::sqrt(residual * (1 / used + std::pow(x.mean().item<double>(), 2) / spread));
  }
  return result;
}

}  // namespace tessera
