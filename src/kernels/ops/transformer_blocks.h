/// Pre-norm transformer blocks one after the other, for inference on the CPU: x + attention(norm(x)), then x +
/// down(gelu(up(norm(x)))), as `layer_norm`, `linear`, `attention_qkv`, `linear_gelu` and `linear_add_onto` of
/// ops/layers.h compute them one by one, here with all of a block's work on an image between a core and its cache.
///
/// The blocks are cut as in tensor parallelism (Shoeybi et al., "Megatron-LM", arXiv:1909.08053, section 3), in two
/// shards of half the heads and half the hidden features each, and every shard adds up sums of its own: what is between
/// two products of a shard stays with the core that works on it, and each weight is read by one core. Always two
/// shards, whatever the number of threads: the result does not depend on it.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "kernels/ops/layers.h"
#include "kernels/ops/packed_weight.h"

namespace tessera {

/// One block's parameters: norms [C]; qkv [3 C, C], output [C, C], up [H, C], down [C, H], each with its bias.
struct TransformerBlock {
  struct Norm {
    torch::Tensor weight, bias;
  };
  struct Dense {
    torch::Tensor weight, bias;
    PackedWeight* prepacked =
        nullptr;  // packed here in a form of its own: not for a layer that is called in turn elsewhere
  };
  Norm norm1;
  Dense qkv, output;
  Norm norm2;
  Dense up, down;
};

/// Whether transformer_blocks computes such a block: no gradients, bfloat16 or int8 on a processor that has them, an
/// even number of heads of a multiple of 32 features, and hidden features that fall into equal pieces.
bool transformer_blocks_apply(const torch::Tensor& x, std::int64_t images, std::int64_t heads, Precision precision,
                              const TransformerBlock& block);

/// x [images * L, C] float32, L tokens an image -> the same after all blocks. scale: of the scores; causal: as in
/// `attention`; eps: of the norms.
torch::Tensor transformer_blocks(const torch::Tensor& x, std::int64_t images, std::int64_t heads, double scale,
                                 bool causal, double eps, Precision precision,
                                 const std::vector<TransformerBlock>& blocks);

}  // namespace tessera
