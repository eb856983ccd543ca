#include "kernels/bf16_attention.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/cpu_features.h"

#pragma GCC push_options
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // false alarm inside GCC 12's own intrinsics
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx512vnni,fma,amx-tile,amx-bf16,amx-int8")
#include "kernels/block_product.h"

namespace tessera::bf16 {
namespace {

constexpr int64_t kTile = 512;  // elements of a tile: 16 rows of 32
constexpr int64_t kBlock = 32;  // rows of scores that are computed together
int64_t rounded(int64_t count) {
  return (count + 31) / 32 * 32;
}

constexpr float kLog2E = 1.44269504f;

__m512i load_row(const uint16_t* row, int64_t column, int64_t columns) {
  return _mm512_maskz_loadu_epi16(low_mask(columns - column), row + column);
}

/// Rows with zeros around them: [rows rounded, columns rounded].
void pad_rows(const uint16_t* from, int64_t step, int64_t rows, int64_t columns, uint16_t* to) {
  for (int64_t r = 0; r < rounded(rows); ++r) {
    for (int64_t c = 0; c < rounded(columns); c += 32, to += 32) {
      _mm512_storeu_si512(to, r < rows ? load_row(from + r * step, c, columns) : _mm512_setzero_si512());
    }
  }
}

/// Right operand of a product over the columns: [rows / 32][columns / 32][2][tile], tile [column pair][row][2].
void pack_across(const uint16_t* from, int64_t step, int64_t rows, int64_t columns, uint16_t* to) {
  __m512i tile[16];
  for (int64_t panel = 0; panel < rounded(rows); panel += 32) {
    for (int64_t c = 0; c < rounded(columns); c += 32) {
      for (int64_t half = 0; half < 2; ++half, to += kTile) {
        for (int64_t r = 0; r < 16; ++r) {
          const int64_t row = panel + 16 * half + r;
          tile[r] = row < rows ? load_row(from + row * step, c, columns) : _mm512_setzero_si512();
        }
        transpose16(tile);
        for (int64_t r = 0; r < 16; ++r) _mm512_storeu_si512(to + 32 * r, tile[r]);
      }
    }
  }
}

__m512i paired_rows(const uint16_t* from, int64_t step, int64_t rows, int64_t columns, int64_t row, int64_t column) {
  const __mmask16 mask = column < columns ? avx512::tail_mask(columns - column) : __mmask16(0);
  const __m256i a = _mm256_maskz_loadu_epi16(row < rows ? mask : __mmask16(0), from + row * step + column);
  const __m256i b = _mm256_maskz_loadu_epi16(row + 1 < rows ? mask : __mmask16(0), from + (row + 1) * step + column);
  return interleave(a, b);
}

/// Right operand of a product over the rows: [columns / 32][rows / 32][2][tile], tile [row pair][column][2].
void pack_down(const uint16_t* from, int64_t step, int64_t rows, int64_t columns, uint16_t* to) {
  for (int64_t c = 0; c < rounded(columns); c += 32) {
    for (int64_t r = 0; r < rounded(rows); r += 32) {
      for (int64_t half = 0; half < 2; ++half) {
        for (int64_t pair = 0; pair < 16; ++pair, to += 32) {
          _mm512_storeu_si512(to, paired_rows(from, step, rows, columns, r + 2 * pair, c + 16 * half));
        }
      }
    }
  }
}

/// The transpose as a left operand: [columns / 16][rows / 32][tile], tile [column][32 rows].
void pack_turned(const uint16_t* from, int64_t step, int64_t rows, int64_t columns, uint16_t* to) {
  __m512i tile[16];
  for (int64_t c = 0; c < rounded(columns); c += 16) {
    for (int64_t r = 0; r < rounded(rows); r += 32) {
      for (int64_t pair = 0; pair < 16; ++pair) tile[pair] = paired_rows(from, step, rows, columns, r + 2 * pair, c);
      transpose16(tile);
      for (int64_t i = 0; i < 16; ++i, to += 32) _mm512_storeu_si512(to, tile[i]);
    }
  }
}

/// A left operand: the tile of rows 16 m and depth 32 k begins at data + m * rows + k * depth, its rows lie `pitch`
/// elements apart.
struct Left {
  const uint16_t* data;
  int64_t rows, depth, pitch;
};
Left row_major(const uint16_t* data, int64_t columns) {
  return {data, 16 * columns, 32, columns};
}

/// result [32, columns] = left (32 rows, `depth` tiles) times right [columns / 32][depth][2][tile]. Calls meanwhile()
/// columns / 32 * depth times.
template <typename Meanwhile>
void product32(const BlockProduct<Element::bfloat16>& block_product, const Left& left, const uint16_t* right,
               int64_t depth, int64_t columns, float* result, int64_t pitch, const Meanwhile& meanwhile) {
  Block block;
  block.first = left.data;
  block.second = left.data + left.rows;
  block.pitch = left.pitch;
  block.left_step = left.depth;
  block.depth = depth;
  block.right_half = kTile;
  block.right_step = 2 * kTile;
  block.sums_pitch = pitch;
  for (int64_t c = 0; c < columns; c += 32) {
    block.right = right + c / 32 * depth * 2 * kTile;
    block.sums = result + c;
    block_product(block, meanwhile);
  }
}
void product32(const BlockProduct<Element::bfloat16>& block_product, const Left& left, const uint16_t* right,
               int64_t depth, int64_t columns, float* result, int64_t pitch) {
  product32(block_product, left, right, depth, columns, result, pitch, [] {});
}

/// Rounds and stores up to 32 rows of sums.
void store_rows(const float* sums, int64_t pitch, int64_t rows, int64_t columns, const float* factor, uint16_t* to,
                int64_t step) {
  for (int64_t r = 0; r < rows; ++r) {
    const __m512 f = _mm512_set1_ps(factor[r]);
    for (int64_t c = 0; c < columns; c += 16) {
      avx512::store16(to + r * step + c, avx512::tail_mask(columns - c),
                      _mm512_mul_ps(_mm512_loadu_ps(sums + r * pitch + c), f));
    }
  }
}

/// Hands out aligned pieces of the scratch.
class Pieces {
 public:
  explicit Pieces(uint16_t* start) : at_(start) {}
  uint16_t* halves(int64_t count) {
    uint16_t* piece = at_;
    at_ += rounded(count);
    return piece;
  }
  float* floats(int64_t count) { return reinterpret_cast<float*>(halves(2 * count)); }

 private:
  uint16_t* at_;
};

}  // namespace

int64_t attention_scratch(const Attention& head) {
  const int64_t queries = rounded(head.queries), keys = rounded(head.keys), width = rounded(head.width);
  return (queries + 2 * keys) * width + kBlock * (5 * keys + 2 * width + 2) + 1024;
}

void attention_forward(const Attention& head, uint16_t* output, int64_t output_row, float* normaliser,
                       uint16_t* scratch) {
  const BlockProduct<Element::bfloat16> multiply;
  const int64_t keys = rounded(head.keys), width = rounded(head.width);
  Pieces pieces(scratch);
  uint16_t* const query = pieces.halves(rounded(head.queries) * width);
  uint16_t* const key = pieces.halves(keys * width);
  uint16_t* const value = pieces.halves(keys * width);
  uint16_t* const weights = pieces.halves(kBlock * keys);
  float* const scores[2] = {pieces.floats(kBlock * keys), pieces.floats(kBlock * keys)};
  float* const sums = pieces.floats(kBlock * width);
  float* const factor = pieces.floats(kBlock);
  pad_rows(head.query, head.query_row, head.queries, head.width, query);
  pack_across(head.key, head.key_row, head.keys, head.width, key);
  pack_down(head.value, head.value_row, head.keys, head.width, value);
  const __m512 scale = _mm512_set1_ps(head.scale * kLog2E),
               lowest = _mm512_set1_ps(-std::numeric_limits<float>::infinity());
  // The weights of row r of the block of queries that begins at `begin`.
  const auto weigh = [&](int64_t begin, int64_t r, const float* row) {
    uint16_t* const to = weights + r * keys;
    if (begin + r >= head.queries) {
      std::fill(to, to + keys, uint16_t(0));
      return;
    }
    const int64_t seen =
        head.causal ? std::clamp<int64_t>(begin + r + 1 + head.keys - head.queries, 0, head.keys) : head.keys;
    const int64_t whole = seen / 32 * 32;
    __m512 most = lowest, more = lowest;
    for (int64_t c = 0; c < whole; c += 32) {
      most = _mm512_max_ps(most, _mm512_loadu_ps(row + c));
      more = _mm512_max_ps(more, _mm512_loadu_ps(row + c + 16));
    }
    for (int64_t c = whole; c < seen; c += 16) {
      most = _mm512_mask_max_ps(most, avx512::tail_mask(seen - c), most, _mm512_loadu_ps(row + c));
    }
    most = _mm512_max_ps(most, more);
    // The greatest of scale * score, whatever the sign of scale, is found on the scores where scale is positive
    // (checked by the caller).
    const float greatest = seen > 0 ? _mm512_reduce_max_ps(most) * head.scale : 0.f;
    const __m512 shift = _mm512_set1_ps(greatest * kLog2E);
    const auto weight = [&](int64_t c) {
      return avx512::short_exp2_16(_mm512_fmsub_ps(_mm512_loadu_ps(row + c), scale, shift));
    };
    __m512 total = _mm512_setzero_ps(), rest = _mm512_setzero_ps();
    for (int64_t c = 0; c < whole; c += 32) {
      const __m512 e = weight(c), f = weight(c + 16);
      total = _mm512_add_ps(total, e);
      rest = _mm512_add_ps(rest, f);
      _mm512_storeu_si512(to + c, (__m512i)_mm512_cvtne2ps_pbh(f, e));
    }
    for (int64_t c = whole; c < keys; c += 16) {
      const __mmask16 mask = c < seen ? avx512::tail_mask(seen - c) : __mmask16(0);
      const __m512 e = _mm512_maskz_mov_ps(mask, weight(c));
      total = _mm512_add_ps(total, e);
      avx512::store16(to + c, __mmask16(0xffff), e);
    }
    total = _mm512_add_ps(total, rest);
    const float sum = _mm512_reduce_add_ps(total);
    factor[r] = sum > 0 ? 1.f / sum : 0.f;
    if (normaliser != nullptr) normaliser[begin + r] = sum > 0 ? greatest + std::log(sum) : 0.f;
  };
  const auto score = [&](int64_t begin, const auto& meanwhile) {
    product32(multiply, row_major(query + begin * width, width), key, width / 32, keys, scores[begin / kBlock % 2],
              keys, meanwhile);
  };
  const int64_t steps = std::max<int64_t>(1, keys / 32 * (width / 32)), rows_a_step = (kBlock + steps - 1) / steps;
  score(0, [] {});
  for (int64_t begin = 0; begin < head.queries; begin += kBlock) {
    const float* const now = scores[begin / kBlock % 2];
    int64_t r = 0;
    const auto some = [&](int64_t rows) {
      for (const int64_t stop = std::min(r + rows, kBlock); r < stop; ++r) weigh(begin, r, now + r * keys);
    };
    // While the tiles multiply the next block's scores, the vector units, which they leave idle, weigh this one's.
    if (begin + kBlock < head.queries) score(begin + kBlock, [&] { some(rows_a_step); });
    some(kBlock);
    product32(multiply, row_major(weights, keys), value, keys / 32, width, sums, width);
    store_rows(sums, width, std::min(kBlock, head.queries - begin), head.width, factor, output + begin * output_row,
               output_row);
  }
}

int64_t attention_backward_scratch(const Attention& head) {
  const int64_t queries = rounded(head.queries), keys = rounded(head.keys), width = rounded(head.width);
  return width * (4 * queries + 3 * keys) + keys * queries + kBlock * (6 * queries + 2 * width + 2) + 4 * queries +
         2048;
}

void attention_backward(const Attention& head, const AttentionGradient& gradient, uint16_t* scratch) {
  // Everything is computed transposed, one row a key: then the weights and their gradient come out in the layouts in
  // which the next products read them, and no matrix of queries x keys is ever transposed.
  const BlockProduct<Element::bfloat16> multiply;
  const int64_t queries = rounded(head.queries), keys = rounded(head.keys), width = rounded(head.width),
                depth = width / 32;
  Pieces pieces(scratch);
  uint16_t* const key_rows = pieces.halves(keys * width);         // left of the scores
  uint16_t* const value_rows = pieces.halves(keys * width);       // left of dP
  uint16_t* const key_turned = pieces.halves(keys * width);       // left of dQ^T
  uint16_t* const query_across = pieces.halves(queries * width);  // right of the scores
  uint16_t* const upper_across = pieces.halves(queries * width);  // right of dP
  uint16_t* const query_down = pieces.halves(queries * width);    // right of dK
  uint16_t* const upper_down = pieces.halves(queries * width);    // right of dV
  uint16_t* const score_pairs =
      pieces.halves(keys * queries);  // dS^T as the right of dQ^T: [queries / 32][keys / 32][2][tile]
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
    product32(multiply, row_major(key_rows + begin * width, width), query_across, depth, queries, scores, queries);
    product32(multiply, row_major(value_rows + begin * width, width), upper_across, depth, queries, products, queries);
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
        uint16_t* tile = score_pairs + ((q / 32 * (keys / 32) + begin / 32) * 2 + q / 16 % 2) * kTile;
        _mm512_storeu_si512(tile + r / 2 * 32, interleave(rounded_slope[0], rounded_slope[1]));
      }
    }
    const int64_t rows = std::min(kBlock, head.keys - begin);
    product32(multiply, row_major(weights, queries), upper_down, queries / 32, width, sums, width);
    store_rows(sums, width, rows, head.width, factor, gradient.value + begin * gradient.value_row, gradient.value_row);
    product32(multiply, row_major(slopes, queries), query_down, queries / 32, width, sums, width);
    store_rows(sums, width, rows, head.width, factor, gradient.key + begin * gradient.key_row, gradient.key_row);
  }
  // dQ^T [width, queries] = K^T dS^T, 32 features at a time, turned back on the way out.
  alignas(64) __m512i turned[16];
  for (int64_t c = 0; c < width; c += kBlock) {
    const Left left{key_turned + c / 16 * (keys / 32) * kTile, keys / 32 * kTile, kTile, 32};
    product32(multiply, left, score_pairs, keys / 32, queries, scores, queries);
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
