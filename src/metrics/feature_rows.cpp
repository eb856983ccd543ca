#include "metrics/feature_rows.h"

#include <numeric>
#include <vector>

#include "runtime/error.h"
#include "runtime/random.h"

namespace tessera {

void require_features(const torch::Tensor& features, std::int64_t minimum, const std::string& what) {
  require(features.defined() && features.dim() == 2, "{}: expected a matrix [N, D], got {} dimensions", what,
          features.defined() ? features.dim() : 0);
  require(features.scalar_type() == torch::kFloat32 || features.scalar_type() == torch::kFloat64,
          "{}: type {}, expected float32 or float64", what, c10::toString(features.scalar_type()));
  require(features.size(1) >= 1, "{}: features of width 0", what);
  require(features.size(0) >= minimum, "{}: {} rows, expected at least {}", what, features.size(0), minimum);
  const auto sums = features.sum(1, false, torch::kFloat64);  // NaN and infinities survive the sum
  const auto finite = sums.isfinite();
  if (finite.all().item<bool>()) return;
  const auto row = finite.logical_not().to(torch::kInt64).argmax().item<std::int64_t>();
  fail("{}: row {} holds NaN or an infinity", what, row);
}

void require_features(const torch::Tensor& real, const torch::Tensor& fake, std::int64_t minimum) {
  require_features(real, minimum, "real features");
  require_features(fake, minimum, "generated features");
  require(real.size(1) == fake.size(1), "features: real ones are {} wide, generated ones {}; expected the same network",
          real.size(1), fake.size(1));
}

torch::Tensor random_subset(std::int64_t total, std::int64_t count, std::uint64_t seed, std::uint64_t subset) {
  require(count >= 0 && count <= total, "subset of {} out of {} rows", count, total);
  std::vector<std::int64_t> order(static_cast<std::size_t>(total));
  std::iota(order.begin(), order.end(), 0);
  const RandomStream random(seed, Purpose::batch_rows, subset);
  for (std::int64_t i = 0; i < count; ++i) {  // the first steps of a Fisher-Yates shuffle
    const auto other = i + static_cast<std::int64_t>(
                               random.below(static_cast<std::uint32_t>(i), static_cast<std::uint64_t>(total - i)));
    std::swap(order[static_cast<std::size_t>(i)], order[static_cast<std::size_t>(other)]);
  }
  order.resize(static_cast<std::size_t>(count));
  return torch::tensor(order, torch::kInt64);
}

}  // namespace tessera
