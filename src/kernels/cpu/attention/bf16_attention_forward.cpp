#include "kernels/cpu/attention/bf16_attention.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "kernels/ops/isa.h"

#pragma GCC push_options
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // false alarm inside GCC 12's own intrinsics
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx512vnni,fma,prfchw,amx-tile,amx-bf16,amx-int8")
#include "kernels/cpu/attention/operands.h"

namespace tessera::bf16 {
namespace {

/// Forward: 32 queries and up to 64 keys at a time. While the tiles multiply, the vector units, which they leave idle,
/// weigh what was multiplied before: 8 KB of scores, which never leave the first-level cache.
class Head {
 public:
  static int64_t scratch(const Attention& head) {
    const int64_t queries = rounded(head.queries), keys = rounded(head.keys), width = rounded(head.width);
    return (queries + 2 * keys) * width + 2 * kBlock * keys + 2 * kBlock * (2 * kChunk + width + kShards + 1 + 2) +
           1024;
  }

  Head(const Attention& head, uint16_t* scratch)
      : head_(head),
        keys_(rounded(head.keys)),
        width_(rounded(head.width)),
        chunks_((keys_ + kChunk - 1) / kChunk),
        query_(head.query),
        query_row_(head.query_row) {
    Pieces pieces(scratch);
    uint16_t* const padded = pieces.halves(rounded(head.queries) * width_);
    uint16_t* const packed = pieces.halves(2 * keys_ * width_);
    for (auto& weights : weights_) weights = pieces.halves(kBlock * keys_);
    for (auto& scores : scores_) scores = pieces.floats(kBlock * kChunk);
    sums_ = pieces.floats(kBlock * width_);
    totals_ = pieces.floats(kBlock * kShards);
    shifts_ = pieces.floats(kBlock);
    for (auto& factors : factors_) factors = pieces.floats(kBlock);
    if (head.queries % kBlock != 0 || head.width % 32 != 0) {
      pad_rows(head.query, head.query_row, head.queries, head.width, padded);
      query_ = padded;
      query_row_ = width_;
    }
    if (head.packed == nullptr) pack(head, packed);
    key_ = head.packed != nullptr ? head.packed : packed;
    value_panel_ = 32 * (head.packed != nullptr ? rounded(head.packed_keys) : keys_);
    value_ = key_ + value_panel_ / 32 * width_;
  }

  static int64_t packed_size(const Attention& head) { return 2 * rounded(head.keys) * rounded(head.width); }
  /// Keys, then values.
  static void pack(const Attention& head, uint16_t* to) {
    pack_across(head.key, head.key_row, head.keys, head.width, to);
    pack_down(head.value, head.value_row, head.keys, head.width, to + packed_size(head) / 2);
  }

  void forward(uint16_t* output, int64_t output_row, float* normaliser) {
    const int64_t blocks = (head_.queries + kBlock - 1) / kBlock, panels = width_ / 32;
    score(0, 0, scores_[0]);
    for (int64_t block = 0; block < blocks; ++block) {
      fetch_output(block, output, output_row);
      for (int64_t chunk = 0; chunk < chunks_; ++chunk) {
        const bool last = chunk + 1 == chunks_, more = !last || block + 1 < blocks;
        const int64_t next_block = last ? block + 1 : block, next = last ? 0 : chunk + 1;
        // The values of the block before are mixed in parts, one with each chunk.
        const int64_t panel = block > 0 ? panels * chunk / chunks_ : 0,
                      end = block > 0 ? panels * (chunk + 1) / chunks_ : 0;
        const int64_t steps = (more ? tiles_of(next) * panels : 0) + (end - panel) * (keys_ / 32);
        Weighing weighing{this, block, chunk, scores_[0], steps > 0 ? (kBlock + steps - 1) / steps : kBlock};
        if (more) score(next_block, next, scores_[1], weighing);
        mix(block - 1, panel, end, weighing);
        weighing.rest();
        std::swap(scores_[0], scores_[1]);
      }
      if (block > 0) store(block - 1, output, output_row);
      if (!finish(block, normaliser)) {
        weigh_again(block);
        finish(block, normaliser);
      }
    }
    mix(blocks - 1, 0, panels);
    store(blocks - 1, output, output_row);
  }

 private:
  static constexpr int64_t kChunk = 64, kShards = 16;
  static constexpr float kMost = 0x1p60f;  // of a row's sum of exponentials: sums of float32 stay far from infinity

  /// What a block's scores for a chunk of keys become while the tiles multiply.
  struct Weighing {
    Head* head;
    int64_t block, chunk;
    const float* scores;
    int64_t rows_a_step, row = 0;

    void operator()() { some(rows_a_step); }
    void rest() { some(kBlock); }
    void some(int64_t rows) {
      // Two rows at a time.
      const int64_t stop = std::min(row + (rows + 1) / 2 * 2, kBlock);
      for (; row < stop; row += 2) {
        if (chunk == 0 && row % kShards == 0) head->begin_rows(block, row, scores);
        head->weigh(block, chunk, row, scores);
      }
    }
  };

  /// Panels of 32 keys in a chunk.
  int64_t tiles_of(int64_t chunk) const { return std::min(kChunk, keys_ - chunk * kChunk) / 32; }

  template <typename... Meanwhile>
  void score(int64_t block, int64_t chunk, float* scores, Meanwhile&... meanwhile) const {
    const OperandA a{query_ + block * kBlock * query_row_, 16 * query_row_, 32, query_row_, true};
    gemm32(multiply_, a, key_ + chunk * kChunk * width_, width_ / 32, tiles_of(chunk) * 32, scores, kChunk,
           meanwhile...);
  }

  /// Panels of 32 features of the values.
  template <typename... Meanwhile>
  void mix(int64_t block, int64_t panel, int64_t end, Meanwhile&... meanwhile) const {
    const OperandA a{weights_[block & 1], 16 * keys_, 32, keys_, true};
    for (; panel < end; ++panel) {
      gemm32(multiply_, a, value_ + panel * value_panel_, keys_ / 32, 32, sums_ + panel * 32, width_, meanwhile...);
    }
  }

  /// Brings near where a block's result will go: by now it lies far away.
  void fetch_output(int64_t block, const uint16_t* output, int64_t output_row) const {
    for (int64_t r = block * kBlock; r < std::min((block + 1) * kBlock, head_.queries); ++r) {
      for (int64_t c = 0; c < head_.width; c += kLine) {
        _mm_prefetch(reinterpret_cast<const char*>(output + r * output_row + c), _MM_HINT_ET0);
      }
    }
  }

  void store(int64_t block, uint16_t* output, int64_t output_row) const {
    const int64_t begin = block * kBlock;
    store_rows(sums_, width_, std::min(kBlock, head_.queries - begin), head_.width, factors_[block & 1],
               output + begin * output_row, output_row);
  }

  /// Keys from `first` on that a query sees; may be negative, or more than there are in a chunk.
  int64_t seen(int64_t query, int64_t first) const {
    const int64_t all =
        head_.causal ? std::clamp<int64_t>(query + 1 + head_.keys - head_.queries, 0, head_.keys) : head_.keys;
    return all - first;
  }

  /// The greatest of what each of 16 rows sees in a chunk, times scale, in powers of two. (The greatest score times
  /// scale is the greatest product because the caller sees to it that scale is positive.)
  __m512 greatest(int64_t block, int64_t row, int64_t first, const float* scores) const {
    const __m512 lowest = _mm512_set1_ps(-std::numeric_limits<float>::infinity());
    __m512 most[kShards];
    const bool all = seen(block * kBlock + row, first) >= kChunk;  // then the rows below do so, too
    for (int64_t r = 0; r < kShards; ++r) {
      const float* const from = scores + (row + r) * kChunk;
      __m512 best = lowest;
      if (all) {
        best = _mm512_max_ps(_mm512_max_ps(_mm512_load_ps(from), _mm512_load_ps(from + 16)),
                             _mm512_max_ps(_mm512_load_ps(from + 32), _mm512_load_ps(from + 48)));
      } else {
        const int64_t visible = std::min(seen(block * kBlock + row + r, first), kChunk);
        for (int64_t c = 0; c < visible; c += kShards) {
          best = _mm512_mask_max_ps(best, avx512::tail_mask(visible - c), best, _mm512_load_ps(from + c));
        }
      }
      most[r] = best;
    }
    return _mm512_mul_ps(reduce_rows<Reduction::greatest>(most), _mm512_set1_ps(head_.scale * kLog2E));
  }

  /// What is taken from 16 rows' scores before their exponential is the greatest of the first chunk's: a look at all
  /// scores first would be a second pass over them. finish() sees whether that was enough.
  void begin_rows(int64_t block, int64_t row, const float* scores) {
    const __m512 shift = greatest(block, row, 0, scores);
    // A row that sees nothing: any finite number.
    const __mmask16 any =
        _mm512_cmp_ps_mask(shift, _mm512_set1_ps(-std::numeric_limits<float>::infinity()), _CMP_NEQ_UQ);
    begin_rows(row, _mm512_maskz_mov_ps(any, shift));
  }
  void begin_rows(int64_t row, __m512 shift) {
    _mm512_store_ps(shifts_ + row, shift);
    for (int64_t r = 0; r < kShards; ++r) _mm512_store_ps(totals_ + (row + r) * kShards, _mm512_setzero_ps());
  }

  /// The weights of two rows for the keys of a chunk, not divided by their sum yet.
  void weigh(int64_t block, int64_t chunk, int64_t row, const float* scores) {
    const int64_t first = chunk * kChunk, query = block * kBlock + row;
    const float* const from = scores + row * kChunk;
    uint16_t* const to = weights_[block & 1] + row * keys_ + first;
    const __m512 scale = _mm512_set1_ps(head_.scale * kLog2E),
                 shift[2] = {_mm512_set1_ps(shifts_[row]), _mm512_set1_ps(shifts_[row + 1])};
    if (seen(query, first) >= kChunk) {  // then the next row sees them all, too
      constexpr int kVectors = 2 * kChunk / kShards, kHalf = kVectors / 2;
      __m512 e[kVectors];
#pragma GCC unroll 8
      for (int i = 0; i < kVectors; ++i) {
        e[i] = _mm512_fmsub_ps(_mm512_load_ps(from + kShards * i), scale, shift[i / kHalf]);
      }
      avx512::short_exp2(e);
#pragma GCC unroll 4
      for (int i = 0; i < kVectors; i += 2) {
        _mm512_storeu_si512(to + i / kHalf * keys_ + i % kHalf * kShards, (__m512i)_mm512_cvtne2ps_pbh(e[i + 1], e[i]));
      }
#pragma GCC unroll 2
      for (int i = 0; i < kVectors; i += kHalf) {
        float* const total = totals_ + (row + i / kHalf) * kShards;
        const __m512 sum = _mm512_add_ps(_mm512_add_ps(e[i], e[i + 1]), _mm512_add_ps(e[i + 2], e[i + 3]));
        _mm512_store_ps(total, _mm512_add_ps(_mm512_load_ps(total), sum));
      }
      return;
    }
    for (int64_t r = 0; r < 2; ++r) {
      const int64_t visible = seen(query + r, first);
      float* const total = totals_ + (row + r) * kShards;
      for (int64_t c = 0; c < tiles_of(chunk) * 32; c += kShards) {
        const __mmask16 mask = c < visible ? avx512::tail_mask(visible - c) : __mmask16(0);
        const __m512 e = _mm512_maskz_mov_ps(
            mask, avx512::short_exp2_16(_mm512_fmsub_ps(_mm512_load_ps(from + r * kChunk + c), scale, shift[r])));
        _mm512_store_ps(total, _mm512_add_ps(_mm512_load_ps(total), e));
        avx512::store16(to + r * keys_ + c, __mmask16(0xffff), e);
      }
    }
  }

  /// What a block's sums are multiplied with. False: a score lies so far above those of the first chunk that its
  /// exponential is out of reach.
  bool finish(int64_t block, float* normaliser) {
    bool fits = true;
    for (int64_t row = 0; row < kBlock; row += kShards) {
      __m512 lanes[kShards];
      for (int64_t r = 0; r < kShards; ++r) lanes[r] = _mm512_load_ps(totals_ + (row + r) * kShards);
      const __m512 total = reduce_rows<Reduction::sum>(lanes);
      fits = fits && _mm512_cmp_ps_mask(total, _mm512_set1_ps(kMost), _CMP_GT_OQ) == 0;
      const __mmask16 some = _mm512_cmp_ps_mask(total, _mm512_setzero_ps(), _CMP_NEQ_UQ);
      _mm512_store_ps(factors_[block & 1] + row, _mm512_maskz_div_ps(some, _mm512_set1_ps(1.f), total));
      if (normaliser == nullptr) continue;
      alignas(64) float totals[kShards];
      _mm512_store_ps(totals, total);
      for (int64_t r = 0; r < kShards && block * kBlock + row + r < head_.queries; ++r) {
        normaliser[block * kBlock + row + r] = totals[r] > 0 ? shifts_[row + r] / kLog2E + std::log(totals[r]) : 0.f;
      }
    }
    return fits;
  }

  /// The same weights with each row's greatest score found first.
  void weigh_again(int64_t block) {
    // scores_[0] holds the next block's by now.
    float* const scores = scores_[1];
    for (int64_t chunk = 0; chunk < chunks_; ++chunk) {
      score(block, chunk, scores);
      for (int64_t row = 0; row < kBlock; row += kShards) {
        const __m512 most = greatest(block, row, chunk * kChunk, scores);
        begin_rows(row, _mm512_max_ps(_mm512_load_ps(shifts_ + row), most));
      }
    }
    for (int64_t chunk = 0; chunk < chunks_; ++chunk) {
      score(block, chunk, scores);
      for (int64_t row = 0; row < kBlock; row += 2) weigh(block, chunk, row, scores);
    }
  }

  enum class Reduction { sum, greatest };
  template <Reduction reduction>
  static __m512 reduced(__m512 a, __m512 b) {
    return reduction == Reduction::sum ? _mm512_add_ps(a, b) : _mm512_max_ps(a, b);
  }
  /// Quarters of a in the lower half, of b in the upper.
  template <Reduction reduction>
  static __m512 reduced_across(__m512 a, __m512 b) {
    return reduced<reduction>(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
  }
  /// Lane r: the reduction of row r's lanes. Each step brings two vectors to one, half of whose lanes belong to each.
  template <Reduction reduction>
  static __m512 reduce_rows(__m512 (&rows)[kShards]) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) {
      const __m512 a = rows[2 * i], b = rows[2 * i + 1];
      rows[i] = reduced<reduction>(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m512d a = _mm512_castps_pd(rows[2 * i]), b = _mm512_castps_pd(rows[2 * i + 1]);
      rows[i] =
          reduced<reduction>(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
    }
    return reduced_across<reduction>(reduced_across<reduction>(rows[0], rows[1]),
                                     reduced_across<reduction>(rows[2], rows[3]));
  }

  const BlockKernel<Element::bfloat16> multiply_;
  const Attention head_;
  const int64_t keys_, width_, chunks_;
  const uint16_t* query_;
  int64_t query_row_;
  const uint16_t *key_, *value_;  // [keys / 32] tiles, [width / 32] tiles
  int64_t value_panel_;           // elements of 32 features' values
  uint16_t* weights_[2];          // two blocks' weights in turn
  float* scores_[2];              // [32, 64]: the chunk that is weighed, and the next
  float *sums_, *totals_, *shifts_, *factors_[2];
};

}  // namespace

int64_t attention_scratch(const Attention& head) {
  return Head::scratch(head);
}

int64_t attention_packed(const Attention& head) {
  return Head::packed_size(head);
}

void pack_keys(const Attention& head, uint16_t* packed) {
  Head::pack(head, packed);
}

void attention_forward(const Attention& head, uint16_t* output, int64_t output_row, float* normaliser,
                       uint16_t* scratch) {
  Head(head, scratch).forward(output, output_row, normaliser);
}

}  // namespace tessera::bf16

#pragma GCC pop_options

#endif
