/// Cells in the order of a two-dimensional Halton sequence (bases 2 and 3), which keeps those of one step far from each
/// other. Besnier et al., "Halton scheduler for masked generative image transformer", arXiv:2503.17076, section 3.3.
#include "sampling/registry.h"

namespace tessera {
namespace {

/// floor(r * side) for the radical inverse r of n in a base: its digits mirrored at the point. In whole numbers,
/// because points on the border of two cells are common where the side shares a factor with the base. n and side below
/// 2^31.
std::int64_t halton_coordinate(std::int64_t n, std::int64_t base, std::int64_t side) {
  std::int64_t mirrored = 0, whole = 1;
  for (; n > 0; n /= base) {
    mirrored = mirrored * base + n % base;
    whole *= base;
  }
  return mirrored * side / whole;
}

/// The place of each cell in the sequence, [h * w]. Points that fall on a cell again are skipped.
std::vector<std::int64_t> halton_places(Extent extent) {
  std::vector<std::int64_t> places(static_cast<std::size_t>(extent.cells()), -1);
  std::int64_t found = 0;
  // A cell is missed for long where its sides share no factor with the bases; what is left follows row by row.
  const auto most = 64 * extent.cells();
  for (std::int64_t n = 1; found < extent.cells() && n <= most; ++n) {
    const auto y = halton_coordinate(n, 2, extent.h), x = halton_coordinate(n, 3, extent.w);
    auto& place = places[static_cast<std::size_t>(y * extent.w + x)];
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
