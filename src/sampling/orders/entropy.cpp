/// The cells of least entropy first. Ye et al., "Dream 7B", arXiv:2508.15487, and Ben-Hamu et al., arXiv:2505.24857.
#include <algorithm>
#include <cmath>

#include "sampling/registry.h"

namespace tessera {
namespace {

std::vector<double> negative_entropies(const OpenCells& open) {
  std::vector<double> scores;
  for (std::size_t i = 0; i < open.cells.size(); ++i) {
    const float* row = open.logits + static_cast<std::int64_t>(i) * open.codes;
    const double highest = *std::max_element(row, row + open.codes);
    double sum = 0, weighted = 0;
    for (std::int64_t code = 0; code < open.codes; ++code) {
      const double shifted = row[code] - highest, mass = std::exp(shifted);
      sum += mass;
      if (mass > 0) weighted += mass * shifted;
    }
    scores.push_back(weighted / sum - std::log(sum));
  }
  return scores;
}

}  // namespace

OrderEntry entropy_order() {
  return {"entropy", "the cell of least entropy first", OrderEntry::Sees::logits, negative_entropies};
}

}  // namespace tessera
