#include "kernels/cpu/attention/bf16_attention.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "kernels/ops/isa.h"

#pragma GCC push_options
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // false alarm inside GCC 12's own intrinsics
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx512vnni,fma,amx-tile,amx-bf16,amx-int8")
#include "kernels/cpu/attention/operands.h"

namespace tessera::bf16 {

int64_t attention_backward_scratch(const Attention& head) {
  const int64_t queries = rounded(head.queries), keys = rounded(head.keys), width = rounded(head.width);
  return width * (4 * queries + 3 * keys) + keys * queries + kBlock * (6 * queries + 2 * width + 2) + 4 * queries +
         2048;
}

void attention_backward(const Attention& head, const AttentionGradient& gradient, uint16_t* scratch) {
  // Everything is computed transposed, one row a key: then the weights and their gradient come out in the layouts in
  // which the next products read them, and no matrix of queries x keys is ever transposed.
  const BlockKernel<Element::bfloat16> multiply;
  const int64_t queries = rounded(head.queries), keys = rounded(head.keys), width = rounded(head.width),
                depth = width / 32;
  Pieces pieces(scratch);
  uint16_t* const key_rows = pieces.halves(keys * width);         // A of the scores
  uint16_t* const value_rows = pieces.halves(keys * width);       // A of dP
  uint16_t* const key_turned = pieces.halves(keys * width);       // A of dQ^T
  uint16_t* const query_across = pieces.halves(queries * width);  // B of the scores
  uint16_t* const upper_across = pieces.halves(queries * width);  // B of dP
  uint16_t* const query_down = pieces.halves(queries * width);    // B of dK
  uint16_t* const upper_down = pieces.halves(queries * width);    // B of dV
  uint16_t* const score_pairs =
      pieces.halves(keys * queries);  // dS^T as the B of dQ^T: [queries / 32][keys / 32][2][tile]
  uint16_t* const weights = pieces.halves(kBlock * queries);  // P^T
  uint16_t* const slopes = pieces.halves(kBlock * queries);   // dS^T
  float* const scores = pieces.floats(kBlock * queries);
  float* const products = pieces.floats(kBlock * queries);  // dP^T
  float* const sums = pieces.floats(kBlock * width);
  float* const factor = pieces.floats(kBlock);
  float* const normaliser = pieces.floats(queries);
  float* const inner = pieces.floats(queries);  // rowsum(dO O)
  const uint16_t* const upper = gradient.gradient_output;
  const int64_t upper_row = gradient.gradient_output_row;
  pad_rows(head.key, head.key_row, head.keys, head.width, key_rows);
  pad_rows(head.value, head.value_row, head.keys, head.width, value_rows);
  pack_turned(head.key, head.key_row, head.keys, head.width, key_turned);
  pack_across(head.query, head.query_row, head.queries, head.width, query_across);
  pack_across(upper, upper_row, head.queries, head.width, upper_across);
  pack_down(head.query, head.query_row, head.queries, head.width, query_down);
  pack_down(upper, upper_row, head.queries, head.width, upper_down);
  std::fill(factor, factor + kBlock, 1.f);
  for (int64_t q = 0; q < queries; ++q) {
    normaliser[q] = q < head.queries ? gradient.normaliser[q] * kLog2E : 0.f;
    __m512 sum = _mm512_setzero_ps();
    for (int64_t c = 0; q < head.queries && c < head.width; c += 16) {
      const __mmask16 mask = avx512::tail_mask(head.width - c);
      sum = _mm512_fmadd_ps(avx512::load16(upper + q * upper_row + c, mask),
                            avx512::load16(gradient.output + q * gradient.output_row + c, mask), sum);
    }
    inner[q] = _mm512_reduce_add_ps(sum);
  }
  const __m512 scale = _mm512_set1_ps(head.scale), exponent_scale = _mm512_set1_ps(head.scale * kLog2E);
  for (int64_t begin = 0; begin < keys; begin += kBlock) {
    gemm32(multiply, row_major(key_rows + begin * width, width), query_across, depth, queries, scores, queries);
    gemm32(multiply, row_major(value_rows + begin * width, width), upper_across, depth, queries, products, queries);
    for (int64_t r = 0; r < kBlock; r += 2) {
      for (int64_t q = 0; q < queries; q += 16) {
        __m256i rounded_slope[2];
        for (int64_t i = 0; i < 2; ++i) {
          const int64_t at = (r + i) * queries + q;
          const __m512 exponent =
              _mm512_fmsub_ps(_mm512_loadu_ps(scores + at), exponent_scale, _mm512_loadu_ps(normaliser + q));
          __m512 p = avx512::short_exp2_16(_mm512_min_ps(_mm512_setzero_ps(), exponent));
          if (head.causal) {  // the first query that sees this key
            const int64_t first = begin + r + i - (head.keys - head.queries) - q;
            if (first > 0) p = _mm512_maskz_mov_ps(__mmask16(first >= 16 ? 0 : 0xffff << first), p);
          }
          avx512::store16(weights + at, __mmask16(0xffff), p);
          const __m512 slope = _mm512_mul_ps(_mm512_mul_ps(p, scale),
                                             _mm512_sub_ps(_mm512_loadu_ps(products + at), _mm512_loadu_ps(inner + q)));
          rounded_slope[i] = (__m256i)_mm512_cvtneps_pbh(slope);
          _mm256_storeu_si256(reinterpret_cast<__m256i*>(slopes + at), rounded_slope[i]);
        }
        uint16_t* tile = score_pairs + ((q / 32 * (keys / 32) + begin / 32) * 2 + q / 16 % 2) * kTileElements;
        _mm512_storeu_si512(tile + r / 2 * 32, interleave(rounded_slope[0], rounded_slope[1]));
      }
    }
    const int64_t rows = std::min(kBlock, head.keys - begin);
    gemm32(multiply, row_major(weights, queries), upper_down, queries / 32, width, sums, width);
    store_rows(sums, width, rows, head.width, factor, gradient.value + begin * gradient.value_row, gradient.value_row);
    gemm32(multiply, row_major(slopes, queries), query_down, queries / 32, width, sums, width);
    store_rows(sums, width, rows, head.width, factor, gradient.key + begin * gradient.key_row, gradient.key_row);
  }
  // dQ^T [width, queries] = K^T dS^T, 32 features at a time, turned back on the way out.
  alignas(64) __m512i turned[16];
  for (int64_t c = 0; c < width; c += kBlock) {
    const OperandA a{key_turned + c / 16 * (keys / 32) * kTileElements, keys / 32 * kTileElements, kTileElements, 32};
    gemm32(multiply, a, score_pairs, keys / 32, queries, scores, queries);
    for (int64_t part = 0; part < kBlock && c + part < head.width; part += 16) {
      const __mmask16 mask = avx512::tail_mask(head.width - c - part);
      for (int64_t q = 0; q < head.queries; q += 16) {
        for (int64_t i = 0; i < 16; ++i) turned[i] = _mm512_loadu_si512(scores + (part + i) * queries + q);
        transpose16(turned);
        for (int64_t i = 0; i < std::min<int64_t>(16, head.queries - q); ++i) {
          avx512::store16(gradient.query + (q + i) * gradient.query_row + c + part, mask,
                          _mm512_castsi512_ps(turned[i]));
        }
      }
    }
  }
}

}  // namespace tessera::bf16

#pragma GCC pop_options

#endif
