/// Root-mean-square normalisation. Zhang and Sennrich, arXiv:1910.07467, eq. 4.
#pragma once

#include <torch/torch.h>

namespace tessera {

/// x / sqrt(mean(x^2) + epsilon) * gain + shift over the last dimension, computed in float32 (float64 for float64).
/// In: x [.., C]; gain [C] or of a shape that broadcasts against x; shift likewise, undefined: none. Out: x's shape.
torch::Tensor rms_norm(const torch::Tensor& x, const torch::Tensor& gain, double epsilon,
                       const torch::Tensor& shift = {});

}  // namespace tessera
