/// Cells in the order of a two-dimensional Halton sequence (bases 2 and 3), which keeps those of one step far from each
/// other. Besnier et al., "Halton scheduler for masked generative image transformer", arXiv:2503.17076, section 3.3.
#include <algorithm>

#include "sampling/registry.h"

namespace tessera {
namespace {

/// The radical inverse of n in a base: its digits mirrored at the point, in [0, 1).
double radical_inverse(std::int64_t n, std::int64_t base) {
  double value = 0, digit = 1;
  for (; n > 0; n /= base) {
    digit /= static_cast<double>(base);
    value += digit * static_cast<double>(n % base);
  }
  return value;
}

/// The place of each cell in the sequence, [h * w]. Points that fall on a cell again are skipped.
std::vector<std::int64_t> halton_places(Extent extent) {
  std::vector<std::int64_t> places(static_cast<std::size_t>(extent.cells()), -1);
  std::int64_t found = 0;
  // A cell is missed for long where its sides share no factor with the bases; what is left follows row by row.
  const auto most = 64 * extent.cells();
  for (std::int64_t n = 1; found < extent.cells() && n <= most; ++n) {
    const auto y = static_cast<std::int64_t>(radical_inverse(n, 2) * static_cast<double>(extent.h));
    const auto x = static_cast<std::int64_t>(radical_inverse(n, 3) * static_cast<double>(extent.w));
    auto& place = places[static_cast<std::size_t>(std::min(y, extent.h - 1) * extent.w + std::min(x, extent.w - 1))];
    if (place < 0) place = found++;
  }
  for (auto& place : places) {
    if (place < 0) place = found++;
  }
  return places;
}

std::vector<double> halton_scores(const OpenCells& open) {
  const auto places = halton_places(open.extent);
  std::vector<double> scores;
  for (const auto cell : open.cells) scores.push_back(-static_cast<double>(places[static_cast<std::size_t>(cell)]));
  return scores;
}

}  // namespace

OrderEntry halton_order() {
  return {"halton", "spread evenly over the grid, a Halton sequence", OrderEntry::Sees::nothing, halton_scores};
}

}  // namespace tessera
