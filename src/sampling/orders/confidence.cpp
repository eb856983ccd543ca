/// Chang et al., MaskGIT, arXiv:2202.04200, section 3.2.
#include "sampling/registry.h"

namespace tessera {
namespace {

std::vector<double> confidence_scores(const OpenCells& open) {
  std::vector<double> scores;
  for (std::size_t i = 0; i < open.cells.size(); ++i) scores.push_back(open.draws[i].log_probability);
  return scores;
}

}  // namespace

OrderEntry confidence_order() {
  return {"confidence", "the drawn code of greatest probability first", OrderEntry::Sees::draws, confidence_scores};
}

}  // namespace tessera
