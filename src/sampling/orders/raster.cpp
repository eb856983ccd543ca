#include "sampling/registry.h"

namespace tessera {
namespace {

std::vector<double> raster_scores(const OpenCells& open) {
  std::vector<double> scores;
  for (const auto cell : open.cells) scores.push_back(-static_cast<double>(cell));
  return scores;
}

}  // namespace

OrderEntry raster_order() {
  return {"raster", "row by row", OrderEntry::Sees::nothing, raster_scores};
}

}  // namespace tessera
