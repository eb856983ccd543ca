/// conv2d and linear of training_ops.h as autograd functions around the AMX kernels. Call only where
/// cpu_has_amx_bf16().
#pragma once

#include <torch/torch.h>

#include "kernels/training_ops.h"

namespace tessera::tiles {

/// input [N, Ci, H, W] bfloat16, channels-last contiguous; weight [Co, Ci, kh, kw], bias [Co] float32 (bias may be
/// undefined).
torch::Tensor conv2d(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias, int64_t stride,
                     const Padding& padding);

/// input [M, K] bfloat16, contiguous; weight [O, K], bias [O] float32 (bias may be undefined).
torch::Tensor linear(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias);

/// gelu_activation(linear(...)), and linear(...) + residual [M, O] float32 as float32.
torch::Tensor linear_gelu(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias);
torch::Tensor linear_add(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias,
                         const torch::Tensor& residual);

}  // namespace tessera::tiles
