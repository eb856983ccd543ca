#include "kernels/cpu/attention/float_attention.h"

#include <algorithm>

#include "kernels/cpu/gemm/float_gemm.h"

namespace tessera::float32 {
namespace {

constexpr std::int64_t kBand = 84;  // queries: whole tiles of 6, 12 and 14 rows

std::int64_t padded_keys(const Attention& head) {
  return (head.keys + 15) / 16 * 16;
}

}  // namespace

std::int64_t attention_workspace(const Attention& head) {
  return packed_size(head.keys, 1, head.width) + packed_size(head.width, 1, head.keys) + kBand * padded_keys(head) +
         kBand;
}

void attention(const Attention& head, float* workspace) {
  float* const keys = workspace;
  float* const values = keys + packed_size(head.keys, 1, head.width);
  float* const scores = values + packed_size(head.width, 1, head.keys);
  float* const factor = scores + kBand * padded_keys(head);
  const auto ld = padded_keys(head);
  pack(head.key, head.key_ld, 0, 1, head.keys, 1, head.width, keys);
  pack(head.value, 1, 0, head.value_ld, head.width, 1, head.keys, values);
  for (std::int64_t begin = 0; begin < head.queries; begin += kBand) {
    const auto rows = std::min(kBand, head.queries - begin);
    const auto seen =
        head.causal ? head.keys - head.queries + begin + rows : head.keys;  // by the last of these queries
    Gemm products;
    products.a = head.query + begin * head.query_ld;
    products.a_ld = head.query_ld;
    products.depth = head.width;
    products.b = keys;
    products.rows = rows;
    products.columns = seen;
    products.output = scores;
    products.output_ld = ld;
    multiply(products);
    if (head.causal) {
      for (std::int64_t r = 0; r < rows; ++r)
        softmax_rows(scores + r * ld, 1, ld, seen - rows + r + 1, seen, head.scale, factor + r);
    } else {
      softmax_rows(scores, rows, ld, seen, seen, head.scale, factor);
    }
    Gemm mixed;
    mixed.a = scores;
    mixed.a_ld = ld;
    mixed.depth = seen;
    mixed.b = values;
    mixed.b_depth = head.keys;
    mixed.rows = rows;
    mixed.columns = head.width;
    mixed.row_factor = factor;
    mixed.output = head.output + begin * head.output_ld;
    mixed.output_ld = head.output_ld;
    multiply(mixed);
  }
}

}  // namespace tessera::float32
