/// Products of activations with weights in float32 through oneDNN, which picks its kernels by the processor: the
/// distribution's OpenBLAS takes its AVX2 kernels on processors it does not know, at half the speed
/// (docs/decisions/float32-products-through-onednn.md).
#pragma once

#include <torch/torch.h>

#include "kernels/ops/packed_weight.h"

namespace tessera {

/// true: float_linear may be called for these operands (float32, CPU, not empty, and oneDNN was there at build time).
/// bias may be undefined.
bool float_linear_applies(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias);

/// input [..., K] times weight [M, K] transposed, plus bias [M] or undefined. Out: [..., M]. Differentiable once.
torch::Tensor float_linear(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias);

/// What follows a product in float32.
struct FloatEpilogue {
  bool gelu = false;
  torch::Tensor residual;  // [rows, M] float32 with contiguous rows, or undefined
  bool onto = false;       // the result is written over the residual
};

/// Whether this processor has kernels for float32 products with packed weights, which may be float16 before.
bool packs_float_weights();

/// Whether packed_float_linear computes this: inference on a processor for which there are kernels
/// (cpu/gemm/float_gemm.h), float32 input on the CPU, a weight of float32 or float16 that may be prepacked, float32
/// bias or none.
bool packed_float_linear_applies(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias,
                                 const PackedWeight* prepacked);

/// As float_linear with prepacked weights and what follows. Out: [rows, M].
torch::Tensor packed_float_linear(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias,
                                  const FloatEpilogue& epilogue, PackedWeight* prepacked);

}  // namespace tessera
