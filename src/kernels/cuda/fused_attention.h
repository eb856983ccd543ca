/// LibTorch's fused attention on a GPU (arXiv:2205.14135), which never writes the queries x keys matrix.
#pragma once

#include <torch/torch.h>

namespace tessera {

/// true: fused_attention may be called for these operands: bfloat16 or float16 on a GPU, and LibTorch 2.1 or later.
bool fused_attention_applies(const torch::Tensor& q);

/// softmax(scale q k^T) v. In: q [N, H, queries, D], k and v [N, H, keys, D], in any strides. causal: query i sees the
/// keys 0 .. i; as many queries as keys. Out: [N, queries, H * D]. Differentiable.
torch::Tensor fused_attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v, double scale,
                              bool causal);

}  // namespace tessera
