/// The gap between the two likeliest codes. Kim et al., "Train for the worst, plan for the best", arXiv:2502.06768,
/// section 4.1 (top probability margin).
#include <algorithm>
#include <cmath>

#include "sampling/registry.h"

namespace tessera {
namespace {

constexpr double kLeastMargin = 1e-9;

std::vector<double> margin_scores(const OpenCells& open) {
  std::vector<double> scores;
  for (std::size_t i = 0; i < open.cells.size(); ++i) {
    const float* row = open.logits + static_cast<std::int64_t>(i) * open.codes;
    double first = -INFINITY, second = -INFINITY, sum = 0;
    for (std::int64_t code = 0; code < open.codes; ++code) {
      if (row[code] > first) {
        second = first;
        first = row[code];
      } else if (row[code] > second) {
        second = row[code];
      }
    }
    for (std::int64_t code = 0; code < open.codes; ++code) sum += std::exp(row[code] - first);
    scores.push_back(std::log(std::max(kLeastMargin, (1 - std::exp(second - first)) / sum)));
  }
  return scores;
}

}  // namespace

OrderEntry margin_order() {
  return {"margin", "the cell whose likeliest code leads the second by most first", OrderEntry::Sees::logits,
          margin_scores};
}

}  // namespace tessera
