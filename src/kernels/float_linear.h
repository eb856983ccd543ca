/// Products of activations with weights in float32 through oneDNN, which picks its kernels by the processor: the
/// distribution's OpenBLAS takes its AVX2 kernels on processors it does not know, at half the speed
/// (docs/decisions/float32-products-through-onednn.md).
#pragma once

#include <torch/torch.h>

namespace tessera {

/// true: float_linear may be called for these operands (float32, CPU, not empty, and oneDNN was there at build time).
/// bias may be undefined.
bool float_linear_applies(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias);

/// input [..., K] times weight [M, K] transposed, plus bias [M] or undefined. Out: [..., M]. Differentiable once.
torch::Tensor float_linear(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias);

}  // namespace tessera
