/// Norms without a mean and gated activations, the rows between a transformer's products. One pass in inference where
/// the processor has AVX-512; LibTorch's operations, with gradients, elsewhere.
#pragma once

#include <torch/torch.h>

#include "kernels/ops/layers.h"

namespace tessera {

/// Root-mean-square normalisation over the last dimension (Zhang and Sennrich, arXiv:1910.07467, eq. 4):
/// x / sqrt(mean(x^2) + eps) * gain + shift. In: input [..., C] float32, float64 or bfloat16; gain and shift [C], or
/// [N, C] for input [N, ..., C]: each entry with its own; undefined: 1 and 0. Computed in float32 (float64 for
/// float64). Out: input's shape in that type, or as `precision` says, the form that the next product reads; its rows
/// may lie apart where nobody asks for a gradient.
torch::Tensor rms_norm(const torch::Tensor& input, const torch::Tensor& gain, double eps,
                       const torch::Tensor& shift = {}, Precision precision = Precision::float32);

/// The end of a residual branch and the norm after it: sum = residual + gate * added, and rms_norm(sum, gain, eps,
/// shift, precision). In: residual [..., C] float32 or float64, for nobody who reads it again: the sum may lie where it
/// did; added of its shape; gate, gain and shift as rms_norm's. Out: sum, its norm.
struct SumAndNorm {
  torch::Tensor sum, norm;
};
SumAndNorm rms_norm_of_gated_sum(const torch::Tensor& residual, const torch::Tensor& gate, const torch::Tensor& added,
                                 const torch::Tensor& gain, double eps, const torch::Tensor& shift,
                                 Precision precision = Precision::float32);

/// activation(gate) * factor, the middle of a gated feed-forward layer (Shazeer, arXiv:2002.05202): silu is
/// x sigmoid(x), gelu x Phi(x). In: gate, factor [..., C] of one type; rows may be slices of a wider tensor. Out: their
/// type; of bfloat16 its rows may lie apart where nobody asks for a gradient.
enum class Gated { silu, gelu };
torch::Tensor gated_activation(Gated activation, const torch::Tensor& gate, const torch::Tensor& factor);

}  // namespace tessera
