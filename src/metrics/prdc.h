/// Precision, recall, density, coverage of generated samples by k-nearest-neighbour balls around feature rows.
/// Kynkaanniemi et al., "Improved precision and recall", arXiv:1904.06991; Naeem et al., "Reliable fidelity and
/// diversity metrics", arXiv:2002.09797, equations 3 to 6.
#pragma once

#include <torch/torch.h>

#include <cstdint>

namespace tessera {

struct PrdcOptions {
  std::int64_t k = 5;             // neighbour whose distance is the radius; 1 <= k < rows of either set
  std::int64_t block_rows = 512;  // rows in one matrix product; memory is 4 * block_rows^2 bytes beside the features

  /// Throws UsageError naming the option.
  void validate() const;
};

struct Prdc {
  double precision = 0;  // share of generated rows inside some real row's ball
  double recall = 0;     // share of real rows inside some generated row's ball
  double density = 0;    // mean over generated rows of (real balls it lies in) / k; may exceed 1
  double coverage = 0;   // share of real rows whose ball holds a generated row
};

/// Distance of each row to its k-th nearest other row. In: features [N, D], N > k. Out: [N] float64.
/// Exact: candidates come from float32 products of blocks (upper triangle only), every distance that decides is
/// computed again in float64.
torch::Tensor neighbour_radii(const torch::Tensor& features, const PrdcOptions& options = {});

/// All comparisons are strict. In: real [N, D], fake [M, D]; radii as neighbour_radii gives them, computed where
/// undefined. Out: what a float64 computation of every distance gives: pairs too close to a radius for float32 are
/// computed again in float64. Throws Error on NaN, too few rows or other widths.
Prdc prdc(const torch::Tensor& real, const torch::Tensor& fake, const PrdcOptions& options = {},
          const torch::Tensor& real_radii = {}, const torch::Tensor& fake_radii = {});

}  // namespace tessera
