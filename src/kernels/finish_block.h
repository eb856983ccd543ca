/// What happens to a block of sums on its way to memory. Include only inside a region compiled for AVX512-BF16 (see
/// bf16_product.cpp): everything here is file-local.
#pragma once

#include "kernels/product_output.h"
#include "kernels/vector_avx512.h"

namespace tessera {
namespace {

/// Adds the bias to 16 rows of 32 sums and stores the first `rows` in the form that the product asks for, at element
/// `at`.
inline void finish(const float* sums, const ProductOutput& product, int64_t channel, int64_t rows, int64_t at) {
  const __mmask32 mask = low_mask(product.channels - channel);
  const __mmask16 first = __mmask16(mask), second = __mmask16(mask >> 16);
  __m512 bias_low = _mm512_setzero_ps(), bias_high = _mm512_setzero_ps();
  if (product.bias != nullptr) {
    bias_low = _mm512_maskz_loadu_ps(first, product.bias + channel);
    bias_high = _mm512_maskz_loadu_ps(second, product.bias + channel + 16);
  }
  at += channel;
  for (int64_t r = 0; r < rows; ++r, at += product.output_pixel) {
    const __m512 a = _mm512_add_ps(_mm512_load_ps(sums + 32 * r), bias_low);
    const __m512 b = _mm512_add_ps(_mm512_load_ps(sums + 32 * r + 16), bias_high);
    if (product.sum != nullptr && product.residual == nullptr) {
      _mm512_mask_storeu_ps(product.sum + at, first, a);
      _mm512_mask_storeu_ps(product.sum + at + 16, second, b);
      continue;
    }
    if (product.sum != nullptr) {
      _mm512_mask_storeu_ps(product.sum + at, first,
                            _mm512_add_ps(a, _mm512_maskz_loadu_ps(first, product.residual + at)));
      _mm512_mask_storeu_ps(product.sum + at + 16, second,
                            _mm512_add_ps(b, _mm512_maskz_loadu_ps(second, product.residual + at + 16)));
      continue;
    }
    const __m512i packed = (__m512i)_mm512_cvtne2ps_pbh(b, a);
    _mm512_mask_storeu_epi16(product.output + at, mask, packed);
    if (product.gelu != nullptr) {
      const __m512 x = avx512::widen16(_mm512_castsi512_si256(packed)),
                   y = avx512::widen16(_mm512_extracti64x4_epi64(packed, 1));
      _mm512_mask_storeu_epi16(product.gelu + at, mask,
                               (__m512i)_mm512_cvtne2ps_pbh(avx512::gelu16(y), avx512::gelu16(x)));
    }
  }
}

}  // namespace
}  // namespace tessera
