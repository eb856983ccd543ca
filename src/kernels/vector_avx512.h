/// Small AVX-512 helpers shared by the kernels: loads and stores of float and bfloat16 as sixteen floats, exponential,
/// sigmoid. Include only inside a region compiled with TESSERA_TARGET_AVX512 (see group_norm_avx512.cpp): everything
/// here is file-local.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace tessera::avx512 {
namespace {

inline __mmask16 tail_mask(int64_t count) {
  return count >= 16 ? __mmask16(0xffff) : __mmask16((1u << count) - 1u);
}

inline __m512 load16(const float* from, __mmask16 mask) {
  return _mm512_maskz_loadu_ps(mask, from);
}
inline __m512 widen16(__m256i bits) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
inline __m512 load16(const uint16_t* from, __mmask16 mask) {
  return widen16(_mm256_maskz_loadu_epi16(mask, from));
}
inline void store16(float* to, __mmask16 mask, __m512 value) {
  _mm512_mask_storeu_ps(to, mask, value);
}
inline void store16(uint16_t* to, __mmask16 mask, __m512 value) {
  _mm256_mask_storeu_epi16(to, mask, (__m256i)_mm512_cvtneps_pbh(value));
}

/// e^x, relative error below 1e-6: 2^n * p(r), r = x - n ln 2, p the Taylor polynomial of degree 6 on |r| <= ln(2) / 2.
inline __m512 exp16(__m512 x) {
  x = _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(-87.f)), _mm512_set1_ps(88.f));
  const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)),
                                        _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
  __m512 p = _mm512_set1_ps(1.f / 720.f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.f / 120.f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.f / 24.f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.f / 6.f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.f));
  return _mm512_scalef_ps(p, n);
}

/// 1 / x for normal x, one Newton step on the 14-bit estimate: relative error below 2^-26.
inline __m512 reciprocal16(__m512 x) {
  const __m512 y = _mm512_rcp14_ps(x);
  return _mm512_mul_ps(y, _mm512_fnmadd_ps(x, y, _mm512_set1_ps(2.f)));
}

inline __m512 sigmoid16(__m512 x) {
  const __m512 one = _mm512_set1_ps(1.f);
  return reciprocal16(_mm512_add_ps(one, exp16(_mm512_sub_ps(_mm512_setzero_ps(), x))));
}

/// Phi(x), the normal distribution function, and exp(-x^2 / 2): Abramowitz and Stegun 7.1.26, absolute error below
/// 1e-7.
struct Normal {
  __m512 distribution, bell;
};
inline Normal normal16(__m512 x) {
  // Beyond 20 both tails are 0 in float32; the limit keeps infinity out of the division.
  const __m512 size = _mm512_min_ps(_mm512_abs_ps(x), _mm512_set1_ps(20.f)), one = _mm512_set1_ps(1.f);
  // 0.3275911 / sqrt(2)
  const __m512 t = reciprocal16(_mm512_fmadd_ps(size, _mm512_set1_ps(0.231641888f), one));
  const __m512 bell = exp16(_mm512_mul_ps(_mm512_mul_ps(x, x), _mm512_set1_ps(-0.5f)));
  __m512 p = _mm512_set1_ps(1.061405429f);
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(-1.453152027f));
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(1.421413741f));
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(-0.284496736f));
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(0.254829592f));
  const __m512 tail = _mm512_mul_ps(_mm512_mul_ps(_mm512_mul_ps(p, t), bell), _mm512_set1_ps(0.5f));  // Phi(-|x|)
  const __mmask16 positive = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GE_OQ);
  return {_mm512_mask_sub_ps(tail, positive, one, tail), bell};
}

inline __m512 gelu16(__m512 x) {
  return _mm512_mul_ps(x, normal16(x).distribution);
}

}  // namespace
}  // namespace tessera::avx512
