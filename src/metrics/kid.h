/// Kernel Inception distance: the unbiased squared maximum mean discrepancy with the kernel (x.y / D + 1)^3, averaged
/// over random subsets. Binkowski et al., "Demystifying MMD GANs", arXiv:1801.01401, section 4.
#pragma once

#include <torch/torch.h>

#include <cstdint>

namespace tessera {

struct KidOptions {
  std::int64_t subsets = 100;       // of both sets; the mean over them is the estimate
  std::int64_t subset_size = 1000;  // rows of each, at least 2 and at most the smaller set
  std::uint64_t seed = 0;

  /// Throws UsageError naming the option.
  void validate() const;
};

struct Kid {
  double mean = 0;
  double deviation = 0;  // over subsets, divisor `subsets`, as published programs print it
};

/// In: features [N, D] and [M, D]. Throws Error where a set has fewer rows than a subset.
Kid kid(const torch::Tensor& real, const torch::Tensor& fake, const KidOptions& options = {});

/// One subset's unbiased estimate; may be negative. In: x [n, D], y [m, D], n, m >= 2. Products in the rows' dtype,
/// sums in float64.
double squared_mmd(const torch::Tensor& x, const torch::Tensor& y);

struct MmdEstimate {
  double value = 0;
  double standard_error = 0;  // over the rows of x, those of y taken as they are
};

/// squared_mmd, and how far it moves with the rows of x: the deviation of their first-order terms
/// 2 (mean k(x_i, x_j) - mean k(x_i, y_j)) over the root of their number.
MmdEstimate squared_mmd_with_error(const torch::Tensor& x, const torch::Tensor& y);

}  // namespace tessera
