/// The micro-kernel: a GEMM of 32 rows by 32 columns in bfloat16 or int8, which all GEMMs here are made of, and the
/// small transpositions that packing for it needs. Include only inside a region compiled for AMX, AVX512-BF16 and
/// AVX512-VNNI (see bf16_gemm.cpp): everything here is file-local.
#pragma once

#include <algorithm>
#include <cstring>

#include "kernels/cpu/gemm/tile_configuration.h"
#include "kernels/cpu/vector_avx512.h"
#include "kernels/ops/isa.h"

namespace tessera {
namespace {

constexpr int64_t kLine = 32;           // elements of two bytes in a cache line
constexpr int64_t kTileElements = 512;  // and in a tile

enum class Element {
  bfloat16,  // A and B bfloat16, accumulators float32
  int8,      // A unsigned bytes, B signed bytes, accumulators int32; four bytes where bfloat16 has a pair
};

/// accumulators [rows, 32] = start (or, with `add`, what they are) + the sum over taps t and depth d of a[t, d] [rows,
/// 32] times b[t, d] [32, 32] (int8: 64 instead of the inner 32). B lies as AMX and the dot products of AVX-512 both
/// read it: 16 rows of 64 bytes, each with 16 columns' pairs (fours). Addresses count in two bytes for int8, too.
struct Block {
  int64_t rows = 32;                                   // at most 32; 16 or 32 may be written and read in any case
  const uint16_t *first = nullptr, *second = nullptr;  // A: rows 0 .. 15 and 16 .. 31
  int64_t ld = 0;                                      // elements between rows of A
  int64_t a_step = 0;                                  // elements from one depth to the next
  int64_t taps = 1, depth = 0;
  const int64_t* tap_offset = nullptr;  // [taps] elements into A, or null for one tap without an offset
  // A is read once a panel of B: it goes by the first-level cache, so that the panel stays there.
  bool a_passes = false;
  const uint16_t* b = nullptr;
  int64_t b_half = 0, b_step = 0;  // elements to columns 16 .. 31, and to the next depth or tap
  float* accumulators = nullptr;   // int32 for int8
  int64_t accumulators_ld = 32;
  bool add = false;
  const float* start = nullptr;  // [32] int32 for int8, the same for every row; null: zeros
  // What later blocks read, brought into the second-level cache meanwhile: `next_fours` times four lines a depth from
  // `next` on.
  const uint16_t* next = nullptr;
  int64_t next_fours = 0;

  /// 32 rows, and tiles of both operands that lie one behind the other.
  bool is_whole() const {
    return rows == 32 && a_step == kLine && b_half == kTileElements && b_step == 2 * kTileElements;
  }

  /// A panel of `size` elements that meets `blocks` blocks of rows; `after`, if not null, is the one to bring nearer.
  void begin_panel(const uint16_t* panel, int64_t size, int64_t blocks, const uint16_t* after) {
    const int64_t calls = std::max<int64_t>(1, blocks * taps * depth) * 4 * kLine;
    b = panel;
    next = after;
    next_fours = after != nullptr ? (size + calls - 1) / calls : 0;
  }
};

/// Multiplies blocks on the AMX tiles (eight of 16 x 64 bytes, held for the life of this object) or, on processors
/// without them, with VDPBF16PS or VPDPBUSD.
template <Element element>
class BlockKernel {
 public:
  BlockKernel() : amx_(element == Element::int8 ? cpu_has_amx_int8() : cpu_has_amx_bf16()) {
    if (amx_) _tile_loadconfig(&kTileConfiguration);
  }
  ~BlockKernel() {
    if (amx_) _tile_release();
  }
  BlockKernel(const BlockKernel&) = delete;
  BlockKernel& operator=(const BlockKernel&) = delete;

  void operator()(Block& block) const {
    if (amx_) {
      block.a_passes ? tiles<true>(block) : tiles<false>(block);
    } else {
      for (int64_t row = 0; row < block.rows; row += kDotRows) dots(block, row);
    }
  }

  /// The same for a block that is whole. Calls meanwhile() once for every depth of every tap: other work of the vector
  /// units, which the tiles leave idle.
  template <typename Meanwhile>
  void operator()(Block& block, Meanwhile& meanwhile) const {
    if (amx_) {
      block.a_passes ? whole_tiles<true>(block, meanwhile) : whole_tiles<false>(block, meanwhile);
    } else {
      for (int64_t step = 0; step < block.taps * block.depth; ++step) meanwhile();
      for (int64_t row = 0; row < block.rows; row += kDotRows) dots(block, row);
    }
  }

 private:
  static constexpr int64_t kDotRows = 8;  // 16 accumulators, two rows of B and the broadcast fit the registers

  /// Tiles 0 and 1 += A in tile 4 times B in tiles 6 and 7.
  static void upper_products() {
    if constexpr (element == Element::int8) {
      _tile_dpbusd(0, 4, 6);
      _tile_dpbusd(1, 4, 7);
    } else {
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
    }
  }
  /// Tiles 2 and 3 += A in tile 5 times B in tiles 6 and 7.
  static void lower_products() {
    if constexpr (element == Element::int8) {
      _tile_dpbusd(2, 5, 6);
      _tile_dpbusd(3, 5, 7);
    } else {
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }

  /// Tile 4 or 5 from A.
  template <int tile, bool passes>
  static void load_a(const uint16_t* from, int64_t ld) {
    static_assert(tile == 4 || tile == 5);  // a tile's number is part of the instruction
    if constexpr (tile == 4 && passes) {
      _tile_stream_loadd(4, from, ld);
    } else if constexpr (tile == 4) {
      _tile_loadd(4, from, ld);
    } else if constexpr (passes) {
      _tile_stream_loadd(5, from, ld);
    } else {
      _tile_loadd(5, from, ld);
    }
  }

  static void begin_accumulators(const Block& block, bool both) {
    asm volatile("" ::: "memory");  // GCC 12's _tile_loadd does not say that it reads memory
    const int64_t out = block.accumulators_ld * int64_t(sizeof(float));
    const float *const upper = block.accumulators, *const lower = block.accumulators + 16 * block.accumulators_ld;
    if (block.add) {
      _tile_loadd(0, upper, out);
      _tile_loadd(1, upper + 16, out);
      if (both) {
        _tile_loadd(2, lower, out);
        _tile_loadd(3, lower + 16, out);
      }
    } else if (block.start != nullptr) {  // the same line for all rows
      _tile_loadd(0, block.start, 0);
      _tile_loadd(1, block.start + 16, 0);
      _tile_loadd(2, block.start, 0);
      _tile_loadd(3, block.start + 16, 0);
    } else {
      _tile_zero(0);
      _tile_zero(1);
      _tile_zero(2);
      _tile_zero(3);
    }
  }

  static void store_accumulators(const Block& block, bool both) {
    const int64_t out = block.accumulators_ld * int64_t(sizeof(float));
    float *const upper = block.accumulators, *const lower = block.accumulators + 16 * block.accumulators_ld;
    _tile_stored(0, upper, out);
    _tile_stored(1, upper + 16, out);
    if (both) {
      _tile_stored(2, lower, out);
      _tile_stored(3, lower + 16, out);
    }
  }

  template <bool passes>
  static void tiles(Block& block) {
    const bool both = block.rows > 16;
    const int64_t in = block.ld * int64_t(sizeof(uint16_t)), lower = block.second - block.first;
    begin_accumulators(block, both);
    const uint16_t* b = block.b;
    for (int64_t tap = 0; tap < block.taps; ++tap) {
      const uint16_t* a = block.first + (block.tap_offset != nullptr ? block.tap_offset[tap] : 0);
      for (int64_t k = 0; k < block.depth; ++k) {
        _tile_loadd(6, b, 64);
        load_a<4, passes>(a, in);
        _tile_loadd(7, b + block.b_half, 64);
        upper_products();
        if (both) {
          load_a<5, passes>(a + lower, in);
          lower_products();
        }
        b += block.b_step;
        a += block.a_step;
        block.next = fetch(block.next, block.next_fours);
      }
    }
    store_accumulators(block, both);
  }

  template <bool passes, typename Meanwhile>
  static void whole_tiles(Block& block, Meanwhile& given) {
    Meanwhile meanwhile = given;
    begin_accumulators(block, true);
    const uint16_t *b = block.b, *next = block.next;
    for (int64_t tap = 0; tap < block.taps; ++tap) {
      const int64_t offset = block.tap_offset != nullptr ? block.tap_offset[tap] : 0;
      if (block.next_fours == 1) {
        steps<passes, true>(block, offset, b, next, meanwhile);
      } else {
        steps<passes, false>(block, offset, b, next, meanwhile);
      }
    }
    block.next = next;
    given = meanwhile;
    store_accumulators(block, true);
  }

  /// All of a tap's depth, the loop that most of the time goes into: what it changes must fit the processor's
  /// registers, and what it does meanwhile must be part of it (a call would save and restore vectors). four: what is
  /// fetched are four lines a step.
  template <bool passes, bool four, typename Meanwhile>
  [[gnu::always_inline]] static void steps(const Block& block, int64_t offset, const uint16_t*& b,
                                           const uint16_t*& next, Meanwhile& meanwhile) {
    const int64_t in = block.ld * int64_t(sizeof(uint16_t)), fours = block.next_fours;
    const uint16_t *upper = block.first + offset, *lower = block.second + offset;
    for (const uint16_t* const end = b + block.depth * 2 * kTileElements; b != end;) {
      _tile_loadd(6, b, 64);
      load_a<4, passes>(upper, in);
      _tile_loadd(7, b + kTileElements, 64);
      load_a<5, passes>(lower, in);
      upper_products();
      lower_products();
      b += 2 * kTileElements;
      upper += kLine;
      lower += kLine;
      meanwhile();
      next = fetch(next, four ? 1 : fours);
    }
  }

  static const uint16_t* fetch(const uint16_t* next, int64_t fours) {
    for (; fours > 0; --fours, next += 4 * kLine) {
#pragma GCC unroll 4
      for (int64_t line = 0; line < 4; ++line) {
        _mm_prefetch(reinterpret_cast<const char*>(next + line * kLine), _MM_HINT_T1);
      }
    }
    return next;
  }

  static __m512i dot(__m512i sum, __m512i a, __m512i b) {
    if constexpr (element == Element::int8) return _mm512_dpbusd_epi32(sum, a, b);
    return _mm512_castps_si512(_mm512_dpbf16_ps(_mm512_castsi512_ps(sum), (__m512bh)a, (__m512bh)b));
  }

  /// Eight rows from `row` on.
  static void dots(const Block& block, int64_t row) {
    const uint16_t* const rows = (row < 16 ? block.first : block.second) + row % 16 * block.ld;
    float* const to = block.accumulators + row * block.accumulators_ld;
    __m512i low[kDotRows], high[kDotRows];
#pragma GCC unroll 8
    for (int64_t r = 0; r < kDotRows; ++r) {
      const float* const from = block.add ? to + r * block.accumulators_ld : block.start;
      low[r] = from != nullptr ? _mm512_loadu_si512(from) : _mm512_setzero_si512();
      high[r] = from != nullptr ? _mm512_loadu_si512(from + 16) : _mm512_setzero_si512();
    }
    const int64_t ld = block.ld, half = block.b_half;
    const uint16_t* panel = block.b;
    for (int64_t tap = 0; tap < block.taps; ++tap) {
      const uint16_t* a = rows + (block.tap_offset != nullptr ? block.tap_offset[tap] : 0);
      for (int64_t k = 0; k < block.depth; ++k, a += block.a_step, panel += block.b_step) {
        for (int64_t pair = 0; pair < 16; ++pair) {
          const __m512i b = _mm512_loadu_si512(panel + 32 * pair), c = _mm512_loadu_si512(panel + half + 32 * pair);
#pragma GCC unroll 8
          for (int64_t r = 0; r < kDotRows; ++r) {
            int32_t four_bytes;
            std::memcpy(&four_bytes, a + r * ld + 2 * pair, sizeof four_bytes);
            const __m512i x = _mm512_set1_epi32(four_bytes);
            low[r] = dot(low[r], x, b);
            high[r] = dot(high[r], x, c);
          }
        }
      }
    }
#pragma GCC unroll 8
    for (int64_t r = 0; r < kDotRows; ++r) {
      _mm512_storeu_si512(to + r * block.accumulators_ld, low[r]);
      _mm512_storeu_si512(to + r * block.accumulators_ld + 16, high[r]);
    }
  }

  bool amx_;
};

inline __mmask32 low_mask(int64_t count) {
  return count >= 32 ? ~0u : count <= 0 ? 0u : (1u << count) - 1u;
}

/// Transposes sixteen rows of sixteen 32-bit elements.
inline void transpose16(__m512i r[16]) {
  __m512i t[16];
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  }
  for (int i = 0; i < 4; ++i) {
    r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[4 + i], 0x88);
    t[4 + i] = _mm512_shuffle_i32x4(r[i], r[4 + i], 0xdd);
    t[8 + i] = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0x88);
    t[12 + i] = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0xdd);
  }
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0x88);
    r[4 + i] = _mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0x88);
    r[8 + i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0xdd);
    r[12 + i] = _mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0xdd);
  }
}

/// Two rows of sixteen bfloat16 as sixteen pairs (a, b).
inline __m512i interleave(__m256i a, __m256i b) {
  return _mm512_or_si512(_mm512_cvtepu16_epi32(a), _mm512_slli_epi32(_mm512_cvtepu16_epi32(b), 16));
}

}  // namespace
}  // namespace tessera
