/// Squared Euclidean distances between rows, a block at a time: one float32 matrix product a block, with a bound on its
/// rounding and the exact distance of any pair in float64. What PRDC and the neighbour search share.
#pragma once

#include <torch/torch.h>

#include <cstdint>

namespace tessera {

/// The rows of one set, centred so that the products lose little.
class DistanceRows {
 public:
  /// In: rows [N, D] float32 or float64, CPU; centre [D] float64, the same for both sets of a comparison.
  DistanceRows(const torch::Tensor& rows, const torch::Tensor& centre);

  std::int64_t count() const { return centred_.size(0); }
  std::int64_t width() const { return centred_.size(1); }
  const float* norms() const { return norms_.data_ptr<float>(); }  // [N] squared lengths
  /// Rows first..last-1, [rows, D] float32.
  torch::Tensor block(std::int64_t first, std::int64_t last) const { return centred_.slice(0, first, last); }
  /// Exact squared distance of row i to row j of another set, in float64 from the rows as given.
  double exact(std::int64_t i, const DistanceRows& other, std::int64_t j) const;

 private:
  torch::Tensor given_;    // [N, D]
  torch::Tensor centred_;  // [N, D] float32
  torch::Tensor norms_;    // [N] float32
};

/// The middle of a set, for the constructor above. In: rows [N, D]. Out: [D] float64.
torch::Tensor centre_of(const torch::Tensor& rows);

/// Bound on |d2(float32) - d2| relative to the sum of the two squared lengths: 8 u sqrt(D), u = 2^-24. A product of
/// width D errs by u sqrt(D) |x||y| in root mean square; eight times that is not met in practice.
float distance_rounding(std::int64_t width);

}  // namespace tessera
