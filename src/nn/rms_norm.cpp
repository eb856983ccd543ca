#include "nn/rms_norm.h"

namespace tessera {

torch::Tensor rms_norm(const torch::Tensor& x, const torch::Tensor& gain, double epsilon, const torch::Tensor& shift) {
  const auto wide = x.scalar_type() == torch::kFloat64 ? x : x.to(torch::kFloat32);
  const auto size = wide.norm(2, {-1}, true);
  const auto unit = wide * torch::rsqrt(size.square() / static_cast<double>(x.size(-1)) + epsilon);
  return shift.defined() ? torch::addcmul(shift, unit, gain) : unit * gain;
}

}  // namespace tessera
