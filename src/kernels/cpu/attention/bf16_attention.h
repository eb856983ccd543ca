/// One head of attention in bfloat16, forward and backward; the operation is `attention` in
/// ops/layers.h. Pointers only, no LibTorch: compiled for a newer processor than the rest. Call only where
/// cpu_has_avx512_bf16().
#pragma once

#include <cstdint>

namespace tessera::bf16 {

/// softmax(scale q k^T) v for one head of one image. All matrices are bfloat16 bits, one token a row.
struct Attention {
  int64_t queries = 0, keys = 0;  // tokens
  int64_t width = 0;              // features of the head
  float scale = 1;
  bool causal = false;  // query i sees the keys 0 .. i + keys - queries
  const uint16_t *query = nullptr, *key = nullptr, *value = nullptr;
  int64_t query_row = 0, key_row = 0, value_row = 0;  // elements between tokens
  // If not null: from pack_keys, for packed_keys keys, at least as many as `keys`; then key and value are not read.
  const uint16_t* packed = nullptr;
  int64_t packed_keys = 0;
};

/// Keys and values as attention_forward reads them, for several parts of the queries. packed: attention_packed
/// elements, aligned to 64 bytes.
int64_t attention_packed(const Attention& head);
void pack_keys(const Attention& head, uint16_t* packed);

/// bfloat16 elements of scratch, aligned to 64 bytes, that the functions below need.
int64_t attention_scratch(const Attention& head);
int64_t attention_backward_scratch(const Attention& head);

/// output [queries, width] with `output_row` elements between tokens; normaliser [queries], if not null, = log sum exp
/// of each query's scores.
void attention_forward(const Attention& head, uint16_t* output, int64_t output_row, float* normaliser,
                       uint16_t* scratch);

/// Gradients of query, key and value from that of the output, by the rules dV = P^T dO, dP = dO V^T, dS = P (dP -
/// rowsum(dO O)).
struct AttentionGradient {
  const uint16_t *output = nullptr, *gradient_output = nullptr;
  int64_t output_row = 0, gradient_output_row = 0;
  const float* normaliser = nullptr;
  uint16_t *query = nullptr, *key = nullptr, *value = nullptr;  // results
  int64_t query_row = 0, key_row = 0, value_row = 0;
};
void attention_backward(const Attention& head, const AttentionGradient& gradient, uint16_t* scratch);

}  // namespace tessera::bf16
