/// Attention of one head in float32, for inference: the GEMMs of float_gemm.h, a band of queries at a time, whose
/// scores stay in the second-level cache.
#pragma once

#include <cstdint>

namespace tessera::float32 {

/// output [queries, width] = softmax(scale q k^T) v, scale > 0. causal: query i sees the keys 0 .. i + keys - queries.
/// Rows lie `..._ld` elements apart.
struct Attention {
  const float *query = nullptr, *key = nullptr, *value = nullptr;
  std::int64_t query_ld = 0, key_ld = 0, value_ld = 0;
  std::int64_t queries = 0, keys = 0, width = 0;
  float scale = 1;
  bool causal = false;
  float* output = nullptr;
  std::int64_t output_ld = 0;
};

/// Floats of workspace that `attention` needs.
std::int64_t attention_workspace(const Attention& head);
void attention(const Attention& head, float* workspace);

}  // namespace tessera::float32
