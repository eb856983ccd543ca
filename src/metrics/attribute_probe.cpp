#include "metrics/attribute_probe.h"

#include <algorithm>
#include <map>

#include "metrics/feature_rows.h"
#include "runtime/error.h"

namespace tessera {
namespace {

constexpr int kFold = 4;  // every fourth row judges the ridge

/// Rows with a constant behind them.
torch::Tensor with_constant(const torch::Tensor& rows) {
  return torch::cat({rows, torch::ones({rows.size(0), 1}, rows.options())}, 1);
}

/// Ridge regression of `targets` [n, V] on `rows` [n, D + 1]; the constant is not shrunk.
torch::Tensor ridge_weights(const torch::Tensor& rows, const torch::Tensor& targets, double ridge) {
  auto normal = rows.t().mm(rows);
  auto diagonal = torch::full({rows.size(1)}, ridge * static_cast<double>(rows.size(0)), torch::kFloat64);
  diagonal[-1] = 1e-9;
  normal.diagonal().add_(diagonal);
  const auto [lower, broken] = torch::linalg_cholesky_ex(normal);
  require(broken.item<std::int64_t>() == 0, "attribute probe: the features of {} pictures are degenerate",
          rows.size(0));
  return torch::cholesky_solve(rows.t().mm(targets), lower);
}

}  // namespace

LinearProbe::LinearProbe(const AttributeRows& known, const std::string& attribute, std::int64_t fewest) {
  require_features(known.features, 1, "features of known pictures");
  require(known.features.size(0) == static_cast<std::int64_t>(known.values.size()),
          "attribute '{}': {} features and {} values", attribute, known.features.size(0), known.values.size());
  std::map<std::string, std::int64_t> count;
  for (const auto& value : known.values) {
    if (!value.empty()) ++count[value];
  }
  for (const auto& [value, pictures] : count) {
    if (pictures >= fewest) values_.push_back(value);
  }
  require(values_.size() >= 2, "attribute '{}': {} values that {} known pictures or more have, expected two at least",
          attribute, values_.size(), fewest);
  std::vector<std::int64_t> used, classes;
  for (std::size_t i = 0; i < known.values.size(); ++i) {
    const auto found = std::lower_bound(values_.begin(), values_.end(), known.values[i]);
    if (found == values_.end() || *found != known.values[i]) continue;
    used.push_back(static_cast<std::int64_t>(i));
    classes.push_back(found - values_.begin());
  }
  const auto chosen = known.features.to(torch::kFloat64).index_select(0, torch::tensor(used));
  mean_ = chosen.mean(0);
  deviation_ = (chosen - mean_).square().mean(0).sqrt().clamp_min(1e-6);
  const auto rows = with_constant((chosen - mean_) / deviation_);
  const auto truth = torch::tensor(classes);
  const auto targets = torch::one_hot(truth, static_cast<std::int64_t>(values_.size())).to(torch::kFloat64);
  most_frequent_ = targets.mean(0).max().item<double>();

  const auto judges = torch::arange(rows.size(0)).remainder(kFold).eq(kFold - 1);
  const auto learn = judges.logical_not().nonzero().flatten(), judge = judges.nonzero().flatten();
  double best = -1, ridge = 1;
  for (const double candidate : {1e2, 1e1, 1e0, 1e-1, 1e-2, 1e-3, 1e-4}) {
    const auto weights = ridge_weights(rows.index_select(0, learn), targets.index_select(0, learn), candidate);
    const auto right = rows.index_select(0, judge).mm(weights).argmax(1).eq(truth.index_select(0, judge));
    const double share = right.to(torch::kFloat64).mean().item<double>();
    if (share > best) std::tie(best, ridge) = std::pair{share, candidate};
  }
  weights_ = ridge_weights(rows, targets, ridge);
}

std::vector<std::string> LinearProbe::read(const torch::Tensor& features) const {
  require(features.dim() == 2 && features.size(1) == mean_.size(0),
          "attribute probe: features of another width than {}", mean_.size(0));
  const auto rows = with_constant((features.to(torch::kFloat64) - mean_) / deviation_);
  const auto largest = rows.mm(weights_).argmax(1);
  std::vector<std::string> result;
  for (std::int64_t i = 0; i < largest.size(0); ++i)
    result.push_back(values_[static_cast<std::size_t>(largest[i].item<std::int64_t>())]);
  return result;
}

bool LinearProbe::knows(const std::string& value) const {
  return std::binary_search(values_.begin(), values_.end(), value);
}

Interval read_right(const LinearProbe& probe, const AttributeRows& rows, double confidence) {
  require(rows.features.size(0) == static_cast<std::int64_t>(rows.values.size()),
          "attribute probe: {} features and {} values", rows.features.size(0), rows.values.size());
  const auto read = probe.read(rows.features);
  std::int64_t judged = 0, right = 0;
  for (std::size_t i = 0; i < read.size(); ++i) {
    if (!probe.knows(rows.values[i])) continue;
    ++judged;
    right += read[i] == rows.values[i] ? 1 : 0;
  }
  require(judged > 0, "attribute probe: no picture has a value that it knows");
  return proportion_interval(right, judged, confidence);
}

}  // namespace tessera
