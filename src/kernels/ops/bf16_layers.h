/// conv2d and linear of ops/layers.h as autograd functions around the bfloat16 kernels. Call only where
/// cpu_has_avx512_bf16(). kept: where the packed weight stays between calls, or null. Where no gradient is asked for, a
/// weight may be float16, and only its shape is looked at once it is packed.
#pragma once

#include <torch/torch.h>

#include "kernels/ops/layers.h"

namespace tessera::tiles {

/// input [N, Ci, H, W] bfloat16, channels-last contiguous; weight [Co, Ci, kh, kw], bias [Co] float32 (bias may be
/// undefined).
torch::Tensor conv2d(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias, int64_t stride,
                     const Padding& padding, PackedWeight* prepacked);

/// input [M, K] bfloat16, contiguous (rows may lie apart where nobody asks for a gradient); weight [O, K], bias [O]
/// float32 (bias may be undefined).
torch::Tensor linear(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias,
                     PackedWeight* prepacked);

/// gelu_activation(linear(...)), and linear(...) + residual [M, O] float32 (undefined: nothing is added) as float32.
torch::Tensor linear_gelu(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias,
                          PackedWeight* prepacked);
torch::Tensor linear_add(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias,
                         const torch::Tensor& residual, PackedWeight* prepacked);
/// The same, written over the residual, which is contiguous. No gradients.
torch::Tensor linear_add_onto(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias,
                              const torch::Tensor& residual, PackedWeight* prepacked);

}  // namespace tessera::tiles
