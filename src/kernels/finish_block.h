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

/// Adds the bias to `rows` rows of 32 sums, row r from load(r), and stores them in the form that the product asks for,
/// at element `at`.
template <typename Load>
inline void finish(const Load& load, const ProductOutput& product, int64_t channel, int64_t rows, int64_t at) {
  const __mmask32 mask = low_mask(product.channels - channel);
  const __mmask16 first = __mmask16(mask), second = __mmask16(mask >> 16);
  __m512 bias_low = _mm512_setzero_ps(), bias_high = _mm512_setzero_ps();
  if (product.bias != nullptr) {
    bias_low = _mm512_maskz_loadu_ps(first, product.bias + channel);
    bias_high = _mm512_maskz_loadu_ps(second, product.bias + channel + 16);
  }
  at += channel;
  const int64_t step = product.output_pixel;
  const auto with_bias = [&](int64_t r) {
    const SumRow row = load(r);
    return SumRow{_mm512_add_ps(row.low, bias_low), _mm512_add_ps(row.high, bias_high)};
  };
  if (product.sum != nullptr) {
    float* to = product.sum + at;
    const float* residual = product.residual != nullptr ? product.residual + at : nullptr;
    for (int64_t r = 0; r < rows; ++r, to += step) {
      SumRow row = with_bias(r);
      if (residual != nullptr) {
        row.low = _mm512_add_ps(row.low, _mm512_maskz_loadu_ps(first, residual));
        row.high = _mm512_add_ps(row.high, _mm512_maskz_loadu_ps(second, residual + 16));
        residual += step;
      }
      _mm512_mask_storeu_ps(to, first, row.low);
      _mm512_mask_storeu_ps(to + 16, second, row.high);
    }
    return;
  }
  uint16_t* to = product.output != nullptr ? product.output + at : nullptr;
  if (product.gelu == nullptr) {
    for (int64_t r = 0; r < rows; ++r, to += step) {
      const SumRow row = with_bias(r);
      _mm512_mask_storeu_epi16(to, mask, (__m512i)_mm512_cvtne2ps_pbh(row.high, row.low));
    }
    return;
  }
  uint16_t* gelu = product.gelu + at;
  for (int64_t r = 0; r < rows; ++r, gelu += step) {
    const SumRow row = with_bias(r);
    const __m512i before = (__m512i)_mm512_cvtne2ps_pbh(row.high, row.low);
    if (to != nullptr) {
      _mm512_mask_storeu_epi16(to, mask, before);
      to += step;
    }
    const __m512 low = avx512::widen16(_mm512_castsi512_si256(before)),
                 high = avx512::widen16(_mm512_extracti64x4_epi64(before, 1));
    _mm512_mask_storeu_epi16(gelu, mask, (__m512i)_mm512_cvtne2ps_pbh(avx512::gelu16(high), avx512::gelu16(low)));
  }
}

}  // namespace
}  // namespace tessera
