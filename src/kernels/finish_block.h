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
  gelu,           // GELU of what is not rounded yet, bfloat16
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

/// Stores a block of sums, two times 16 rows of 32, a few pairs of rows at a time, while the next block is multiplied.
/// The tiles take the greater part of what the processor can issue: every instruction here is felt. Rows: row r of 16,
/// with a bias, as a SumRow.
template <Result result, typename Rows>
class Finishing {
 public:
  explicit Finishing(const ProductOutput& product) : product_(product) {}

  /// The columns that blocks added from now on have, from `channel` on.
  void begin_panel(int64_t channel) {
    channel_ = channel;
    mask_ = low_mask(product_.channels - channel);
    turn_ = 1 - turn_;  // the block before may be of the panel before
    SumRow& bias = bias_[turn_];
    bias.low = bias.high = _mm512_setzero_ps();
    if (product_.bias == nullptr) return;
    bias.low = _mm512_maskz_loadu_ps(__mmask16(mask_), product_.bias + channel);
    bias.high = _mm512_maskz_loadu_ps(__mmask16(mask_ >> 16), product_.bias + channel + 16);
  }

  /// Where the rows of the block that is multiplied next will go, half by half: what is stored of the one before brings
  /// these places into the cache on its way, since by now they lie far away.
  void expect(int64_t upper, int64_t lower) {
    coming_[0] = upper + channel_;
    coming_[1] = lower + channel_;
  }

  /// Half a block, once the one before is finished: its first `count` rows go to element `at` of the output on.
  void add(const Rows& rows, int64_t count, int64_t at) {
    if (next_ == end_) {
      next_ = end_ = 0;
      whole_ = true;
    }
    halves_[end_ / kPairs] = {rows, count, at + channel_, &bias_[turn_], mask_};
    whole_ = whole_ && count == 2 * int64_t(kPairs) && mask_ == ~__mmask32(0);
    end_ += kPairs;
  }

  /// Stores some of the pairs of rows that were added.
  void some(uint64_t pairs) {
    for (const uint64_t stop = std::min(next_ + pairs, end_); next_ < stop; ++next_) {
      const Half& half = halves_[next_ / kPairs];
      const int64_t r = 2 * int64_t(next_ % kPairs), at = half.at + r * product_.output_pixel;
      const int64_t coming = coming_[next_ / kPairs] + r * product_.output_pixel;
      fetch(coming);
      fetch(coming + product_.output_pixel);
      if (whole_) {
        store<true>(half, r, at);
        store<true>(half, r + 1, at + product_.output_pixel);
      } else {
        if (r < half.count) store<false>(half, r, at);
        if (r + 1 < half.count) store<false>(half, r + 1, at + product_.output_pixel);
      }
    }
  }
  void rest() { some(2 * kPairs); }

  /// Pairs a step so that nothing is left after `steps`.
  static uint64_t pairs_a_step(int64_t steps) {
    return steps > 0 ? (2 * kPairs + uint64_t(steps) - 1) / uint64_t(steps) : 0;
  }

 private:
  static constexpr uint64_t kPairs = 8;  // of rows in half a block
  struct Half {
    Rows rows;
    int64_t count = 0, at = 0;
    const SumRow* bias = nullptr;
    __mmask32 mask = 0;
  };

  /// The places of a row that comes. An address outside of the output, below its last row, does no harm.
  void fetch(int64_t at) const {
    const auto fetch_line = [](const void* line) { _mm_prefetch(static_cast<const char*>(line), _MM_HINT_ET0); };
    if constexpr (result == Result::sum || result == Result::sum_and_other) {
      fetch_line(product_.sum + at);
      fetch_line(product_.sum + at + 16);
      if constexpr (result == Result::sum_and_other) {
        if (product_.residual != product_.sum) {
          _mm_prefetch(reinterpret_cast<const char*>(product_.residual + at), _MM_HINT_T0);
          _mm_prefetch(reinterpret_cast<const char*>(product_.residual + at + 16), _MM_HINT_T0);
        }
      }
    }
    if constexpr (result == Result::rounded || result == Result::both) fetch_line(product_.output + at);
    if constexpr (result == Result::gelu || result == Result::both) fetch_line(product_.gelu + at);
  }

  template <bool whole>
  void store(const Half& half, int64_t r, int64_t at) const {
    const __mmask16 first = __mmask16(half.mask), second = __mmask16(half.mask >> 16);
    SumRow row = half.rows(r, *half.bias);
    if constexpr (result == Result::sum || result == Result::sum_and_other) {
      float* const to = product_.sum + at;
      if constexpr (result == Result::sum_and_other) {
        const float* const other = product_.residual + at;
        row.low = _mm512_add_ps(row.low, whole ? _mm512_loadu_ps(other) : _mm512_maskz_loadu_ps(first, other));
        row.high =
            _mm512_add_ps(row.high, whole ? _mm512_loadu_ps(other + 16) : _mm512_maskz_loadu_ps(second, other + 16));
      }
      if constexpr (whole) {
        _mm512_storeu_ps(to, row.low);
        _mm512_storeu_ps(to + 16, row.high);
      } else {
        _mm512_mask_storeu_ps(to, first, row.low);
        _mm512_mask_storeu_ps(to + 16, second, row.high);
      }
      return;
    }
    if constexpr (result == Result::rounded || result == Result::both) {
      store32<whole>(product_.output + at, half.mask, (__m512i)_mm512_cvtne2ps_pbh(row.high, row.low));
    }
    if constexpr (result == Result::gelu || result == Result::both) {
      const __m512 low = avx512::gelu16(row.low), high = avx512::gelu16(row.high);
      store32<whole>(product_.gelu + at, half.mask, (__m512i)_mm512_cvtne2ps_pbh(high, low));
    }
  }

  template <bool whole>
  static void store32(uint16_t* to, __mmask32 mask, __m512i values) {
    if constexpr (whole) {
      _mm512_storeu_si512(to, values);
    } else {
      _mm512_mask_storeu_epi16(to, mask, values);
    }
  }

  const ProductOutput product_;
  SumRow bias_[2];
  Half halves_[2];
  uint64_t next_ = 0, end_ = 0;  // pairs of rows of the two halves that are stored, and that were added
  bool whole_ = true;            // no row or column of them is left out
  int64_t channel_ = 0, turn_ = 0, coming_[2] = {};
  __mmask32 mask_ = 0;
};

}  // namespace
}  // namespace tessera
