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

/// x becomes 2^x, relative error below 8e-5: for what is rounded to bfloat16. A minimax polynomial of degree 3 on what
/// x is above the whole number below it; scalef takes that number out of x by itself, and makes 0 of -infinity. Several
/// vectors in step: a single chain of dependent operations leaves the vector units waiting, and in the midst of a
/// product fills the queue in which the tiles' instructions wait, too.
template <int count>
inline void short_exp2(__m512 (&x)[count]) {
  __m512 r[count], p[count];
#pragma GCC unroll 8
  for (int i = 0; i < count; ++i) r[i] = _mm512_reduce_ps(x[i], _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
#pragma GCC unroll 8
  for (int i = 0; i < count; ++i) {
    p[i] = _mm512_fmadd_ps(_mm512_set1_ps(7.802451402e-2f), r[i], _mm512_set1_ps(2.260671705e-1f));
  }
#pragma GCC unroll 8
  for (int i = 0; i < count; ++i) p[i] = _mm512_fmadd_ps(p[i], r[i], _mm512_set1_ps(6.958335042e-1f));
#pragma GCC unroll 8
  for (int i = 0; i < count; ++i) p[i] = _mm512_fmadd_ps(p[i], r[i], _mm512_set1_ps(9.999251962e-1f));
#pragma GCC unroll 8
  for (int i = 0; i < count; ++i) x[i] = _mm512_scalef_ps(p[i], x[i]);
}
inline __m512 short_exp2_16(__m512 x) {
  __m512 one[1] = {x};
  short_exp2(one);
  return one[0];
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

/// The same with relative error below 2e-4, for what is rounded to bfloat16.
inline __m512 short_sigmoid16(__m512 x) {
  const __m512 exponent = _mm512_min_ps(_mm512_set1_ps(126.f), _mm512_mul_ps(x, _mm512_set1_ps(-1.44269504f)));
  return _mm512_rcp14_ps(_mm512_add_ps(short_exp2_16(exponent), _mm512_set1_ps(1.f)));
}

inline constexpr float kNormalReach = 6.f;  // beyond it the tail is less than 1e-9

/// Phi(-s), the normal distribution's tail, for 0 <= s <= kNormalReach: the sixteenth power of a polynomial of degree
/// 6, relative error below 1.8e-4 up to s = 4 and 3.1e-4 up to the end: for what is rounded to bfloat16. In step as
/// above.
template <int count>
inline void normal_tail(const __m512 (&s)[count], __m512 (&p)[count]) {
  constexpr float kPowers[] = {-7.391941717e-05f, 8.403691923e-04f,  -1.749153648e-03f,
                               -1.738844751e-02f, -4.792677079e-02f, 9.576139027e-01f};
#pragma GCC unroll 8
  for (int i = 0; i < count; ++i) p[i] = _mm512_set1_ps(1.994014834e-06f);
#pragma GCC unroll 8
  for (const float power : kPowers) {
#pragma GCC unroll 8
    for (int i = 0; i < count; ++i) p[i] = _mm512_fmadd_ps(p[i], s[i], _mm512_set1_ps(power));
  }
#pragma GCC unroll 8
  for (int square = 0; square < 4; ++square) {
#pragma GCC unroll 8
    for (int i = 0; i < count; ++i) p[i] = _mm512_mul_ps(p[i], p[i]);
  }
}
inline __m512 normal_tail16(__m512 s) {
  const __m512 one[1] = {s};
  __m512 tail[1];
  normal_tail(one, tail);
  return tail[0];
}

/// x becomes x Phi(x), for what is rounded to bfloat16: max(x, 0) - |x| Phi(-|x|). The order of operands keeps what is
/// no number.
template <int count>
inline void gelu(__m512 (&x)[count]) {
  __m512 s[count], tail[count];
#pragma GCC unroll 8
  for (int i = 0; i < count; ++i) s[i] = _mm512_abs_ps(x[i]);
#pragma GCC unroll 8
  for (int i = 0; i < count; ++i) s[i] = _mm512_min_ps(_mm512_set1_ps(kNormalReach), s[i]);
  normal_tail(s, tail);
#pragma GCC unroll 8
  for (int i = 0; i < count; ++i) x[i] = _mm512_max_ps(_mm512_setzero_ps(), x[i]);
#pragma GCC unroll 8
  for (int i = 0; i < count; ++i) x[i] = _mm512_fnmadd_ps(s[i], tail[i], x[i]);
}
inline __m512 gelu16(__m512 x) {
  __m512 one[1] = {x};
  gelu(one);
  return one[0];
}

/// Its slope, Phi(x) + x exp(-x^2 / 2) / sqrt(2 pi).
inline __m512 gelu_slope16(__m512 x) {
  const __m512 s = _mm512_min_ps(_mm512_set1_ps(kNormalReach), _mm512_abs_ps(x));
  const __m512 tail = normal_tail16(s);
  const __mmask16 positive = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GE_OQ);
  const __m512 distribution = _mm512_mask_sub_ps(tail, positive, _mm512_set1_ps(1.f), tail);
  // log2(e) / 2
  const __m512 bell = short_exp2_16(_mm512_mul_ps(_mm512_mul_ps(s, s), _mm512_set1_ps(-0.721347520f)));
  const __m512 scale = _mm512_set1_ps(0.398942280f);  // 1 / sqrt(2 pi)
  const __m512 rise = _mm512_mul_ps(_mm512_mul_ps(s, scale), bell);
  return _mm512_mask_add_ps(_mm512_sub_ps(distribution, rise), positive, distribution, rise);
}

}  // namespace
}  // namespace tessera::avx512
