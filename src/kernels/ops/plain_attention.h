/// Attention by LibTorch's batched products, for every dtype and processor; ops/layers.h chooses between it and the
/// bfloat16 kernels.
#pragma once

#include <torch/torch.h>

#include <cstdint>

namespace tessera {

/// softmax(scale q k^T) v in each head. In: qkv [N, L, 3, H, D], float32, float64 or bfloat16 (sums of the softmax in
/// float32 then). causal: cell i sees the cells 0..i. Out: [N, L, H * D] in the same dtype.
/// Differentiable once. Works on a few images at a time, so that the scores stay in the cache. The softmax [N, H, L, L]
/// is kept for the backward pass where it has at most `keep_at_most` elements, else it is computed again there (as
/// arXiv:2205.14135 does within an image).
torch::Tensor plain_attention_qkv(const torch::Tensor& qkv, double scale, bool causal,
                                  std::int64_t keep_at_most = 1 << 22);

}  // namespace tessera
