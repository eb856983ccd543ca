#include "sampling/registry.h"

namespace tessera {
namespace {

std::vector<double> random_scores(const OpenCells& open) {
  std::vector<double> scores;
  for (const auto cell : open.cells) scores.push_back(open.stream.uniform(static_cast<std::uint32_t>(cell)));
  return scores;
}

}  // namespace

OrderEntry random_order() {
  return {"random", "a random permutation of its own for each image", OrderEntry::Sees::nothing, random_scores};
}

}  // namespace tessera
