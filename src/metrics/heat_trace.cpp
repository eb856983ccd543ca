#include "metrics/heat_trace.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "metrics/feature_rows.h"
#include "metrics/neighbours.h"
#include "runtime/error.h"

namespace tessera {
namespace {

constexpr double kPublishedScale = 1e6, kLowest = 0.1, kHighest = 10;
constexpr std::int64_t kProbesAtOnce = 16;  // their bases are held together: rows * steps * 16 numbers
constexpr double kNothing = 1e-10;          // a residual of this length: the space is used up

/// The graph of rows and their nearest, as adjacency lists.
class NeighbourGraph {
 public:
  NeighbourGraph(const torch::Tensor& features, std::int64_t k) : joined_(static_cast<std::size_t>(features.size(0))) {
    const auto rows = features.size(0);
    const auto nearest = nearest_features(features, features, k + 1).index.contiguous();
    const auto* index = nearest.data_ptr<std::int64_t>();
    for (std::int64_t row = 0; row < rows; ++row) {
      std::int64_t taken = 0;  // a row is among its own nearest, or as near as its copies
      for (std::int64_t i = 0; i <= k && taken < k; ++i) {
        const auto other = index[row * (k + 1) + i];
        if (other == row) continue;
        joined_[static_cast<std::size_t>(row)].push_back(other);
        joined_[static_cast<std::size_t>(other)].push_back(row);
        ++taken;
      }
    }
    for (auto& list : joined_) {
      std::sort(list.begin(), list.end());
      list.erase(std::unique(list.begin(), list.end()), list.end());
      scale_.push_back(1 / std::sqrt(static_cast<double>(list.size())));
    }
  }

  /// L x for columns. In: x [N, P] float64, contiguous.
  torch::Tensor laplacian_times(const torch::Tensor& x) const {
    auto result = torch::empty_like(x);
    const auto columns = x.size(1);
    const auto* in = x.data_ptr<double>();
    auto* out = result.data_ptr<double>();
    at::parallel_for(0, x.size(0), 256, [&](std::int64_t begin, std::int64_t end) {
      for (auto row = begin; row < end; ++row) {
        auto* own = out + row * columns;
        std::copy(in + row * columns, in + (row + 1) * columns, own);
        for (const auto other : joined_[static_cast<std::size_t>(row)]) {
          const double weight = scale_[static_cast<std::size_t>(row)] * scale_[static_cast<std::size_t>(other)];
          const auto* seen = in + other * columns;
          for (std::int64_t c = 0; c < columns; ++c) own[c] -= weight * seen[c];
        }
      }
    });
    return result;
  }

 private:
  std::vector<std::vector<std::int64_t>> joined_;
  std::vector<double> scale_;  // of each row: 1 / root of its degree
};

/// The tridiagonal matrices [P, m, m] of m Lanczos steps from the columns of `start` [N, P], each orthogonal to all
/// before. Where the space is used up before, the rest is zero.
torch::Tensor lanczos(const NeighbourGraph& graph, const torch::Tensor& start, std::int64_t steps) {
  const auto probes = start.size(1);
  auto tridiagonal = torch::zeros({probes, steps, steps}, torch::kFloat64);
  std::vector<torch::Tensor> basis = {start / start.norm(2, {0})};
  for (std::int64_t i = 0; i < steps; ++i) {
    auto next = graph.laplacian_times(basis.back().contiguous());
    tridiagonal.select(1, i).select(1, i).copy_((next * basis.back()).sum(0));
    if (i + 1 == steps) break;
    for (int pass = 0; pass < 2; ++pass) {  // twice is enough
      for (const auto& known : basis) next = next - known * (known * next).sum(0);
    }
    const auto length = next.norm(2, {0});
    const auto goes_on = length > kNothing;
    const auto counted = torch::where(goes_on, length, torch::zeros_like(length));
    tridiagonal.select(1, i).select(1, i + 1).copy_(counted);
    tridiagonal.select(1, i + 1).select(1, i).copy_(counted);
    basis.push_back(torch::where(goes_on, next / length, torch::zeros_like(next)));
  }
  return tridiagonal;
}

}  // namespace

void ImdOptions::validate() const {
  if (k < 1) throw UsageError(fmt::format("IMD: k {}: expected 1 or more neighbours", k));
  if (lanczos_steps < 2) throw UsageError(fmt::format("IMD: lanczos_steps {}: expected 2 or more", lanczos_steps));
  if (probes < 1) throw UsageError(fmt::format("IMD: probes {}: expected 1 or more", probes));
  if (temperatures < 2) throw UsageError(fmt::format("IMD: temperatures {}: expected 2 or more", temperatures));
}

std::vector<double> imd_temperatures(const ImdOptions& options) {
  std::vector<double> values;
  for (std::int64_t i = 0; i < options.temperatures; ++i) {
    const double share = static_cast<double>(i) / static_cast<double>(options.temperatures - 1);
    values.push_back(kLowest * std::pow(kHighest / kLowest, share));
  }
  return values;
}

std::vector<double> heat_trace(const torch::Tensor& features, const ImdOptions& options) {
  const torch::NoGradGuard no_grad;
  options.validate();
  require_features(features, options.k + 1, "features");
  const auto rows = features.size(0);
  const auto steps = std::min(options.lanczos_steps, rows);
  const NeighbourGraph graph(features, options.k);
  auto generator = at::detail::createCPUGenerator(options.seed);
  const auto temperatures = torch::tensor(imd_temperatures(options), torch::kFloat64);
  auto heat = torch::zeros({options.temperatures}, torch::kFloat64);  // mean over probes of e_1' exp(-t T) e_1
  auto mean = torch::zeros({}, torch::kFloat64);                      // of e_1' T e_1
  for (std::int64_t first = 0; first < options.probes; first += kProbesAtOnce) {
    const auto count = std::min(kProbesAtOnce, options.probes - first);
    const auto start = torch::randn({rows, count}, generator, torch::kFloat64);
    const auto tridiagonal = lanczos(graph, start, steps);
    const auto [values, vectors] = torch::linalg_eigh(tridiagonal);
    const auto weights = vectors.select(1, 0).square();  // [P, m]
    heat += ((-temperatures.view({-1, 1, 1}) * values).exp() * weights).sum({1, 2});
    mean += (values * weights).sum();
  }
  const auto probes = static_cast<double>(options.probes);
  // exp(-t L) and -exp(-t) t L are drawn alike: the second one's trace is known, -exp(-t) t N.
  const auto trace = heat / probes - temperatures * (-temperatures).exp() * (1 - mean / probes);
  std::vector<double> result;
  for (std::int64_t i = 0; i < options.temperatures; ++i) result.push_back(trace[i].item<double>());
  return result;
}

double imd(const std::vector<double>& a, const std::vector<double>& b, const ImdOptions& options) {
  const auto temperatures = imd_temperatures(options);
  require(a.size() == temperatures.size() && b.size() == a.size(),
          "IMD: traces of {} and {} temperatures, expected {} each", a.size(), b.size(), temperatures.size());
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double weight = std::exp(-2 * (temperatures[i] + 1 / temperatures[i]));
    largest = std::max(largest, weight * std::abs(a[i] - b[i]));
  }
  return kPublishedScale * largest;
}

}  // namespace tessera
