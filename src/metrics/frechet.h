/// Fréchet distance of two sets of features under a Gaussian assumption (FID), and its value for infinitely many
/// samples. Heusel et al., "GANs trained by a two time-scale update rule", arXiv:1706.08500, equation 6; Chong and
/// Forsyth, "Effectively unbiased FID", arXiv:1911.07023, section 4. All of it in float64; covariances divide by N - 1,
/// as numpy.cov and with it every published implementation.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

namespace tessera {

/// Mean and covariance of feature rows.
struct FeatureMoments {
  torch::Tensor mean;        // [D] float64
  torch::Tensor covariance;  // [D, D] float64, divisor N - 1
  std::int64_t count = 0;    // N >= 2
};

/// In: features [N, D], N >= 2. Rows are widened to float64 a block at a time.
FeatureMoments moments_of(const torch::Tensor& features);

/// The symmetric positive semi-definite square root S of a symmetric positive semi-definite matrix [D, D] float64:
/// S S = matrix. Eigenvalues below D * 2^-52 of the largest are rounding and count as 0.
torch::Tensor symmetric_sqrt(const torch::Tensor& matrix);

/// trace of sqrt(a b) of two covariances [D, D] float64: the sum of the singular values of A B^T, where a = A^T A and
/// b = B^T B. Unlike the square root of the product it is exact for singular covariances.
double trace_sqrt_product(const torch::Tensor& a, const torch::Tensor& b);

/// |mean difference|^2 + tr a + tr b - 2 tr sqrt(a b). Throws Error where the widths differ.
double frechet_distance(const FeatureMoments& a, const FeatureMoments& b);

/// The same from features [N, D] and [M, D], N, M >= 2. Where a set has fewer rows than D, its centred rows stand for
/// the factor of its (singular) covariance: nothing is lost to rounding, and it is cheaper.
double frechet_distance(const torch::Tensor& real, const torch::Tensor& fake);

struct FidInfinityOptions {
  std::int64_t points = 15;      // sample sizes, evenly spaced from `smallest` to all
  std::int64_t smallest = 5000;  // of the generated set; lowered to half the set where that is smaller
  std::uint64_t seed = 0;        // of the subsets
};

struct FidInfinity {
  double value = 0;                  // intercept of the line FID(n) = value + slope / n
  double slope = 0;                  // FID times samples
  double standard_error = 0;         // of the intercept, from the residuals
  std::vector<std::int64_t> counts;  // n
  std::vector<double> fids;          // FID of n random generated rows against all real ones
};

/// In: features [N, D] and [M, D], M >= 4. The real set stays whole, as in the paper.
FidInfinity fid_infinity(const torch::Tensor& real, const torch::Tensor& fake, const FidInfinityOptions& options = {});

}  // namespace tessera
