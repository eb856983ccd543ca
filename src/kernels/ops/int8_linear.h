/// linear, linear_gelu and linear_add of ops/layers.h with products in int8, for inference.
#pragma once

#include <torch/torch.h>

#include "kernels/ops/packed_weight.h"

namespace tessera {

enum class Int8Result {
  rounded,  // bfloat16
  gelu,     // x Phi(x), bfloat16; with AVX-512 the result is not rounded on its way
  sum,      // float32, plus the residual
  onto,     // that, written over the residual
};

/// input [..., K] float32 or bfloat16 (rounded to bfloat16 first); weight [M, K], bias [M] float32 (may be undefined);
/// residual [rows, M] float32, contiguous (undefined: nothing is added), only with Int8Result::sum and onto. Out:
/// [rows, M]. Needs a processor with AVX512-VNNI to be fast; elsewhere the same numbers come from float32 products. No
/// gradients: throws Error where one would be recorded.
torch::Tensor int8_linear(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias,
                          Int8Result result, const torch::Tensor& residual, PackedWeight* prepacked);

}  // namespace tessera
