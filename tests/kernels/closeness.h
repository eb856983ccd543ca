/// Comparison of a computed tensor with a float64 reference under a derived, element-wise bound; the worst element is
/// named.
#pragma once

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <string>

#include "kernels/ops/isa.h"

namespace tessera {

/// Half the distance between neighbours at 1: the relative error of one rounding.
inline double unit_roundoff(torch::ScalarType dtype) {
  return dtype == torch::kBFloat16 ? 0x1p-8 : dtype == torch::kFloat ? 0x1p-24 : 0x1p-53;
}

/// Passes when |actual - reference| <= rounding(actual's dtype) |reference| + bound everywhere. bound: any shape that
/// broadcasts.
inline ::testing::AssertionResult is_within(const torch::Tensor& actual, const torch::Tensor& reference,
                                            const torch::Tensor& bound) {
  if (actual.sizes() != reference.sizes()) {
    return ::testing::AssertionFailure() << "shape " << actual.sizes() << ", expected " << reference.sizes();
  }
  const torch::Tensor a = actual.detach().to(torch::kDouble), r = reference.detach();
  // One rounding of the reference, and of the error itself.
  const torch::Tensor allowed = (r.abs() + bound) * (1.001 * unit_roundoff(actual.scalar_type())) + bound;
  const torch::Tensor excess = ((a - r).abs() / allowed.clamp_min(1e-300)).reshape(-1);
  if (excess.numel() == 0) return ::testing::AssertionSuccess();
  const int64_t worst = excess.nan_to_num(1e300, 1e300).argmax().item<int64_t>();
  const double ratio = excess[worst].item<double>();
  if (ratio <= 1) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "element " << worst << " of " << excess.numel() << " is "
                                       << a.reshape(-1)[worst].item<double>() << ", expected "
                                       << r.reshape(-1)[worst].item<double>() << " +- "
                                       << allowed.expand_as(r).reshape(-1)[worst].item<double>() << " (" << ratio
                                       << " times the bound)";
}

inline torch::Tensor no_bound() {
  return torch::zeros({}, torch::kDouble);
}

/// Runs a body below the given instruction sets, then restores the limit.
class WithCpuLimit {
 public:
  explicit WithCpuLimit(CpuLimit limit) : before_(cpu_limit()) { set_cpu_limit(limit); }
  ~WithCpuLimit() { set_cpu_limit(before_); }
  WithCpuLimit(const WithCpuLimit&) = delete;
  WithCpuLimit& operator=(const WithCpuLimit&) = delete;

 private:
  CpuLimit before_;
};

/// For the names of parametrised tests.
inline std::string name_of(CpuLimit limit) {
  switch (limit) {
    case CpuLimit::plain:
      return "plain";
    case CpuLimit::avx2:
      return "avx2";
    case CpuLimit::avx_vnni:
      return "avx_vnni";
    case CpuLimit::avx512:
      return "avx512";
    case CpuLimit::amx:
      return "amx";
  }
  return "unknown";
}

}  // namespace tessera
