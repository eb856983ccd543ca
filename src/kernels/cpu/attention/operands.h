/// What attention's products read: heads packed for the tiles, 32 rows at a time. Include only inside a region compiled
/// for AMX and AVX512-BF16 (see bf16_attention_forward.cpp): everything here is file-local.
#pragma once

#include <algorithm>

#include "kernels/cpu/gemm/block_kernel.h"

namespace tessera::bf16 {
namespace {

constexpr int64_t kBlock = 32;  // rows of scores that are computed together
inline int64_t rounded(int64_t count) {
  return (count + 31) / 32 * 32;
}

constexpr float kLog2E = 1.44269504f;

inline __m512i load_row(const uint16_t* row, int64_t column, int64_t columns) {
  return _mm512_maskz_loadu_epi16(low_mask(columns - column), row + column);
}

/// Rows with zeros around them: [rows rounded, columns rounded].
inline void pad_rows(const uint16_t* from, int64_t step, int64_t rows, int64_t columns, uint16_t* to) {
  for (int64_t r = 0; r < rounded(rows); ++r) {
    for (int64_t c = 0; c < rounded(columns); c += 32, to += 32) {
      _mm512_storeu_si512(to, r < rows ? load_row(from + r * step, c, columns) : _mm512_setzero_si512());
    }
  }
}

/// Operand B of a GEMM over the columns: [rows / 32][columns / 32][2][tile], tile [column pair][row][2].
inline void pack_across(const uint16_t* from, int64_t step, int64_t rows, int64_t columns, uint16_t* to) {
  __m512i tile[16];
  for (int64_t panel = 0; panel < rounded(rows); panel += 32) {
    for (int64_t c = 0; c < rounded(columns); c += 32) {
      for (int64_t half = 0; half < 2; ++half, to += kTileElements) {
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

inline __m512i paired_rows(const uint16_t* from, int64_t step, int64_t rows, int64_t columns, int64_t row,
                           int64_t column) {
  const __mmask16 mask = column < columns ? avx512::tail_mask(columns - column) : __mmask16(0);
  const __m256i a = _mm256_maskz_loadu_epi16(row < rows ? mask : __mmask16(0), from + row * step + column);
  const __m256i b = _mm256_maskz_loadu_epi16(row + 1 < rows ? mask : __mmask16(0), from + (row + 1) * step + column);
  return interleave(a, b);
}

/// Operand B of a GEMM over the rows: [columns / 32][rows / 32][2][tile], tile [row pair][column][2].
inline void pack_down(const uint16_t* from, int64_t step, int64_t rows, int64_t columns, uint16_t* to) {
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

/// The transpose as operand A: [columns / 16][rows / 32][tile], tile [column][32 rows].
inline void pack_turned(const uint16_t* from, int64_t step, int64_t rows, int64_t columns, uint16_t* to) {
  __m512i tile[16];
  for (int64_t c = 0; c < rounded(columns); c += 16) {
    for (int64_t r = 0; r < rounded(rows); r += 32) {
      for (int64_t pair = 0; pair < 16; ++pair) tile[pair] = paired_rows(from, step, rows, columns, r + 2 * pair, c);
      transpose16(tile);
      for (int64_t i = 0; i < 16; ++i, to += 32) _mm512_storeu_si512(to, tile[i]);
    }
  }
}

/// Operand A: the tile of rows 16 m and depth 32 k begins at data + m * rows + k * depth, its rows lie `ld`
/// elements apart.
struct OperandA {
  const uint16_t* data;
  int64_t rows, depth, ld;
  bool passes = false;  // as in Block
};
inline OperandA row_major(const uint16_t* data, int64_t columns) {
  return {data, 16 * columns, 32, columns};
}

/// result [32, columns] = a (32 rows, `depth` tiles) times b [columns / 32][depth][2][tile]. Calls meanwhile(),
/// if there is one, columns / 32 * depth times.
template <typename... Meanwhile>
void gemm32(const BlockKernel<Element::bfloat16>& block_kernel, const OperandA& a, const uint16_t* b, int64_t depth,
            int64_t columns, float* result, int64_t ld, Meanwhile&... meanwhile) {
  Block block;
  block.first = a.data;
  block.second = a.data + a.rows;
  block.ld = a.ld;
  block.a_step = a.depth;
  block.depth = depth;
  block.a_passes = a.passes;
  block.b_half = kTileElements;
  block.b_step = 2 * kTileElements;
  block.accumulators_ld = ld;
  for (int64_t c = 0; c < columns; c += 32) {
    block.b = b + c / 32 * depth * 2 * kTileElements;
    block.accumulators = result + c;
    block_kernel(block, meanwhile...);
  }
}

/// Rounds and stores up to 32 rows of sums.
inline void store_rows(const float* sums, int64_t ld, int64_t rows, int64_t columns, const float* factor, uint16_t* to,
                       int64_t step) {
  for (int64_t r = 0; r < rows; ++r) {
    const __m512 f = _mm512_set1_ps(factor[r]);
    const float* const from = sums + r * ld;
    for (int64_t c = 0; c < columns; c += 32) {
      const __m512 low = _mm512_mul_ps(_mm512_loadu_ps(from + c), f),
                   high = _mm512_mul_ps(_mm512_loadu_ps(from + c + 16), f);
      _mm512_mask_storeu_epi16(to + r * step + c, low_mask(columns - c), (__m512i)_mm512_cvtne2ps_pbh(high, low));
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
}  // namespace tessera::bf16
