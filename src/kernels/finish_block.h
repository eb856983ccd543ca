/// What happens to a block of sums on its way to memory. Include only inside a region compiled for AVX512-BF16 (see
/// bf16_product.cpp): everything here is file-local.
#pragma once

#include "kernels/product_output.h"
#include "kernels/vector_avx512.h"

namespace tessera {
namespace {

/// A row of 32 sums.
struct SumRow {
  __m512 low, high;
};

/// What a product writes.
enum class Result {
  rounded,        // bfloat16
  gelu,           // GELU of that
  both,           // both
  sum,            // float32
  sum_and_other,  // float32, something added
};

inline Result result_of(const ProductOutput& product) {
  if (product.sum != nullptr) return product.residual != nullptr ? Result::sum_and_other : Result::sum;
  if (product.gelu == nullptr) return Result::rounded;
  return product.output != nullptr ? Result::both : Result::gelu;
}

/// Calls body<result>() for what the product writes.
template <typename Body>
void for_result(const ProductOutput& product, const Body& body) {
  switch (result_of(product)) {
    case Result::rounded:
      return body.template operator()<Result::rounded>();
    case Result::gelu:
      return body.template operator()<Result::gelu>();
    case Result::both:
      return body.template operator()<Result::both>();
    case Result::sum:
      return body.template operator()<Result::sum>();
    case Result::sum_and_other:
      return body.template operator()<Result::sum_and_other>();
  }
}

/// Stores up to two times 16 rows of 32 sums, a few rows at a time, while the next block is multiplied. Rows: row r of
/// 16 as a SumRow.
template <Result result, typename Rows>
class Finishing {
 public:
  explicit Finishing(const ProductOutput& product) : product_(product) {}

  /// The columns that blocks added from now on have, from `channel` on.
  void begin_panel(int64_t channel) {
    channel_ = channel;
    mask_ = low_mask(product_.channels - channel);
    low_ = high_ = _mm512_setzero_ps();
    if (product_.bias == nullptr) return;
    low_ = _mm512_maskz_loadu_ps(__mmask16(mask_), product_.bias + channel);
    high_ = _mm512_maskz_loadu_ps(__mmask16(mask_ >> 16), product_.bias + channel + 16);
  }

  /// Half a block, once the one before is finished: its first `count` rows go to element `at` of the output on.
  void add(const Rows& rows, int64_t count, int64_t at) {
    if (next_ == end_) next_ = end_ = 0;
    Half& half = halves_[uint64_t(end_) / kHalf];
    half = {rows, count, at + channel_, low_, high_, mask_};
    end_ += int64_t(kHalf);
  }

  /// Stores some of the rows that were added, two at a time where they lie so: their chains of operations overlap.
  void some(int64_t rows) {
    for (const int64_t stop = std::min(next_ + rows, end_); next_ < stop;) {
      const Half& half = halves_[uint64_t(next_) / kHalf];
      const int64_t r = int64_t(uint64_t(next_) % kHalf);
      if (r % 2 == 0 && next_ + 2 <= stop && r + 2 <= half.count) {
        store(half, r);
        store(half, r + 1);
        next_ += 2;
        continue;
      }
      if (r < half.count) store(half, r);
      ++next_;
    }
  }
  void rest() { some(2 * int64_t(kHalf)); }

 private:
  static constexpr uint64_t kHalf = 16;  // rows
  struct Half {
    Rows rows;
    int64_t count = 0, at = 0;
    __m512 low, high;  // bias
    __mmask32 mask = 0;
  };

  void store(const Half& half, int64_t r) const {
    const __mmask16 first = __mmask16(half.mask), second = __mmask16(half.mask >> 16);
    const int64_t at = half.at + r * product_.output_pixel;
    SumRow row = half.rows(r);
    row.low = _mm512_add_ps(row.low, half.low);
    row.high = _mm512_add_ps(row.high, half.high);
    if constexpr (result == Result::sum || result == Result::sum_and_other) {
      if constexpr (result == Result::sum_and_other) {
        row.low = _mm512_add_ps(row.low, _mm512_maskz_loadu_ps(first, product_.residual + at));
        row.high = _mm512_add_ps(row.high, _mm512_maskz_loadu_ps(second, product_.residual + at + 16));
      }
      _mm512_mask_storeu_ps(product_.sum + at, first, row.low);
      _mm512_mask_storeu_ps(product_.sum + at + 16, second, row.high);
    } else {
      const __m512i rounded = (__m512i)_mm512_cvtne2ps_pbh(row.high, row.low);
      if constexpr (result != Result::gelu) _mm512_mask_storeu_epi16(product_.output + at, half.mask, rounded);
      if constexpr (result != Result::rounded) {
        const __m512 low = avx512::gelu16(avx512::widen16(_mm512_castsi512_si256(rounded))),
                     high = avx512::gelu16(avx512::widen16(_mm512_extracti64x4_epi64(rounded, 1)));
        _mm512_mask_storeu_epi16(product_.gelu + at, half.mask, (__m512i)_mm512_cvtne2ps_pbh(high, low));
      }
    }
  }

  const ProductOutput product_;
  Half halves_[2];
  int64_t next_ = 0, end_ = 0;  // rows of the two halves that are stored, and that were added
  int64_t channel_ = 0;
  __mmask32 mask_ = 0;
  __m512 low_, high_;
};

}  // namespace
}  // namespace tessera
