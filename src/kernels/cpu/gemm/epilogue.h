/// What happens to a block of sums on its way to memory. Include only inside a region compiled for AVX512-BF16 (see
/// cpu/gemm/bf16_gemm.cpp): everything here is file-local.
#pragma once

#include "kernels/cpu/gemm/block_kernel.h"
#include "kernels/cpu/gemm/gemm_output.h"
#include "kernels/cpu/vector_avx512.h"

namespace tessera {
namespace {

/// What a product writes.
enum class Result {
  rounded,        // bfloat16
  gelu,           // GELU of what is not rounded yet, bfloat16
  both,           // both
  sum,            // float32
  sum_and_other,  // float32, something added
};

inline Result result_of(const GemmOutput& gemm) {
  if (gemm.sum != nullptr) return gemm.residual != nullptr ? Result::sum_and_other : Result::sum;
  if (gemm.gelu == nullptr) return Result::rounded;
  return gemm.output != nullptr ? Result::both : Result::gelu;
}

/// Calls body<result>() for what the product writes.
template <typename Body>
void for_result(const GemmOutput& gemm, const Body& body) {
  switch (result_of(gemm)) {
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

/// Stores blocks of sums, 32 rows of 32, each while the next one is multiplied. The tiles take the greater part of what
/// the processor can issue: every instruction here is felt, and more so those that wait for one another. Rows:
/// load(values) of the next rows as vectors, two a row and all in step, and skip(rows).
template <Result result, typename Rows>
class Epilogue {
 public:
  Epilogue(const GemmOutput& gemm, int64_t steps) : gemm_(gemm), steps_(std::max<int64_t>(1, steps)) {}

  /// Multiplies a block and stores the one before.
  template <Element element>
  void multiply(const BlockKernel<element>& block_kernel, Block& block) {
    if (!whole_ || !block.is_whole()) {
      block_kernel(block);
      rest();
    } else if (steps_ >= kRows / 2) {
      Stores<2, true> stores(*this);
      block_kernel(block, stores);
    } else {
      Stores<4, true> stores(*this);
      block_kernel(block, stores);
      stores.rest();  // nothing is left where there was a step
    }
    pending_ = 0;
  }

  /// The block that was multiplied: the first `count` rows of each half go to element `at` of the output on.
  void add(const Rows& rows, int64_t channel, int64_t upper_count, int64_t upper_at, int64_t lower_count,
           int64_t lower_at) {
    rows_ = rows;
    mask_ = low_mask(gemm_.channels - channel);
    count_[0] = upper_count;
    count_[1] = lower_count;
    at_[0] = upper_at + channel;
    at_[1] = lower_at + channel;
    pending_ = kRows;
    whole_ = upper_count == kHalf && lower_count == kHalf && mask_ == ~__mmask32(0);
  }

  /// Stores the last one.
  void rest() { Stores<1, false>(*this).rest(); }

 private:
  static constexpr int64_t kRows = 32, kHalf = 16;

  /// A block's rows, `unit` at a time; whole: none of its rows or columns is left out.
  template <int unit, bool whole>
  class Stores {
   public:
    explicit Stores(const Epilogue& epilogue)
        : rows_(epilogue.rows_),
          left_(epilogue.pending_),
          units_((kRows / unit + epilogue.steps_ - 1) / epilogue.steps_),
          at_(epilogue.at_[0]),
          lower_at_(epilogue.at_[1]),
          ld_(epilogue.gemm_.output_pixel),
          sum_(epilogue.gemm_.sum),
          residual_(epilogue.gemm_.residual),
          output_(epilogue.gemm_.output),
          gelu_(epilogue.gemm_.gelu),
          count_{epilogue.count_[0], epilogue.count_[1]},
          mask_(epilogue.mask_) {}

    [[gnu::always_inline]] void operator()() {
      if constexpr (unit == 2) {  // see multiply: there are steps enough
        if (left_ > 0) next();
      } else {
        for (int64_t n = 0; n < units_ && left_ > 0; ++n) next();
      }
    }
    void rest() {
      while (left_ > 0) next();
    }

   private:
    [[gnu::always_inline]] void next() {
      if (whole || (kRows - left_) % kHalf < count_[left_ <= kHalf]) store();
      rows_.skip(unit);
      at_ += unit * ld_;
      left_ -= unit;
      if (left_ == kHalf) at_ = lower_at_;
    }

    void store() const {
#pragma GCC unroll 4
      for (int64_t row = 0; row < unit; ++row) fetch(at_ + (kAhead + row) * ld_);
      __m512 values[kVectors];
      rows_.load(values);
      if constexpr (result == Result::sum || result == Result::sum_and_other) {
        store_accumulators(values);
        return;
      }
      if constexpr (result == Result::rounded || result == Result::both) store_rounded(output_ + at_, values);
      if constexpr (result == Result::gelu || result == Result::both) {
        avx512::gelu(values);
        store_rounded(gelu_ + at_, values);
      }
    }

    void store_accumulators(__m512 (&values)[2 * unit]) const {
      const auto place = [&](int i) { return at_ + i / 2 * ld_ + i % 2 * 16; };
      const __mmask16 masks[2] = {__mmask16(mask_), __mmask16(mask_ >> 16)};
      if constexpr (result == Result::sum_and_other) {
#pragma GCC unroll 8
        for (int i = 0; i < kVectors; ++i) {
          const float* const other = residual_ + place(i);
          values[i] =
              _mm512_add_ps(values[i], whole ? _mm512_loadu_ps(other) : _mm512_maskz_loadu_ps(masks[i % 2], other));
        }
      }
#pragma GCC unroll 8
      for (int i = 0; i < kVectors; ++i) {
        if constexpr (whole) {
          _mm512_storeu_ps(sum_ + place(i), values[i]);
        } else {
          _mm512_mask_storeu_ps(sum_ + place(i), masks[i % 2], values[i]);
        }
      }
    }

    void store_rounded(uint16_t* to, const __m512 (&values)[2 * unit]) const {
#pragma GCC unroll 4
      for (int row = 0; row < unit; ++row) {
        const __m512i rounded = (__m512i)_mm512_cvtne2ps_pbh(values[2 * row + 1], values[2 * row]);
        if constexpr (whole) {
          _mm512_storeu_si512(to + row * ld_, rounded);
        } else {
          _mm512_mask_storeu_epi16(to + row * ld_, mask_, rounded);
        }
      }
    }

    /// The places of a row that comes: by now they lie far away. An address outside of the output does no harm.
    void fetch(int64_t at) const {
      const auto fetch_line = [](const void* line) { _mm_prefetch(static_cast<const char*>(line), _MM_HINT_ET0); };
      if constexpr (result == Result::sum || result == Result::sum_and_other) {
        fetch_line(sum_ + at);
        fetch_line(sum_ + at + 16);
      }
      if constexpr (result == Result::rounded || result == Result::both) fetch_line(output_ + at);
      if constexpr (result == Result::gelu || result == Result::both) fetch_line(gelu_ + at);
    }

    static constexpr int kVectors = 2 * unit;
    static constexpr int64_t kAhead = 8;  // rows

    Rows rows_;
    int64_t left_, units_, at_, lower_at_, ld_;
    float* sum_;
    const float* residual_;
    uint16_t *output_, *gelu_;
    int64_t count_[2];
    __mmask32 mask_;
  };

  const GemmOutput gemm_;
  const int64_t steps_;  // of a block
  Rows rows_ = {};
  int64_t pending_ = 0, count_[2] = {}, at_[2] = {};  // rows that are not stored yet, and of each half
  __mmask32 mask_ = 0;
  bool whole_ = true;
};

}  // namespace
}  // namespace tessera
