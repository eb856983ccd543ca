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
/// 6, relative error below 1.8e-4 up to s = 4 and 3.1e-4 up to the end: for what is rounded to bfloat16.
inline __m512 normal_tail16(__m512 s) {
  constexpr float kPowers[] = {-7.391941717e-05f, 8.403691923e-04f,  -1.749153648e-03f,
                               -1.738844751e-02f, -4.792677079e-02f, 9.576139027e-01f};
  __m512 p = _mm512_set1_ps(1.994014834e-06f);
#pragma GCC unroll 8
  for (const float power : kPowers) p = _mm512_fmadd_ps(p, s, _mm512_set1_ps(power));
#pragma GCC unroll 8
  for (int square = 0; square < 4; ++square) p = _mm512_mul_ps(p, p);
  return p;
}

/// Added to a number of less than 2^22, leaves the nearest whole number in the lowest bits: 1.5 * 2^23.
inline constexpr float kRounding = 12582912.f;

/// s Phi(-s), what GELU takes off max(x, 0), as 32 parabolas: number k, [power][k], is used around s = k kGeluPiece.
/// Fitted to the least relative error, so that it is 8.2e-5 up to s = 2, 3e-4 up to 3 and 1.4e-3 up to 4.57; from there
/// to kGeluReach, where the last one ends at 0 (and stays within 4e-9), it is no more than 7e-6. Absolute:
/// below 1.4e-5.
inline constexpr float kGeluPiece = 0.15f, kGeluReach = 4.7244f;
alignas(64) inline constexpr float kGeluPieces[3][32] = {
    {0.000000000e+00f, 7.142266986e-05f, 1.440333086e-03f, 7.187503390e-03f, 2.128646709e-02f, 4.724857956e-02f,
     8.683801442e-02f, 1.392301917e-01f, 2.008437812e-01f, 2.658749819e-01f, 3.273675442e-01f, 3.785220981e-01f,
     4.139130414e-01f, 4.303447902e-01f, 4.271779954e-01f, 4.061855078e-01f, 3.709480762e-01f, 3.260739446e-01f,
     2.763840258e-01f, 2.262333184e-01f, 1.790602356e-01f, 1.371866614e-01f, 1.018357128e-01f, 7.330185920e-02f,
     5.119916052e-02f, 3.472260758e-02f, 2.287707850e-02f, 1.465000212e-02f, 9.122439660e-03f, 5.525708199e-03f,
     3.257009666e-03f, -4.025887325e-02f},
    {4.999944270e-01f,  4.984560609e-01f,  4.865944684e-01f,  4.562170506e-01f,  4.027218521e-01f,  3.259380758e-01f,
     2.300257236e-01f,  1.225424856e-01f,  1.293321699e-02f,  -8.919537812e-02f, -1.756459028e-01f, -2.407578826e-01f,
     -2.819388807e-01f, -2.995976806e-01f, -2.965798080e-01f, -2.773619294e-01f, -2.471126765e-01f, -2.108931541e-01f,
     -1.730605215e-01f, -1.369302869e-01f, -1.046814695e-01f, -7.744786143e-02f, -5.552329123e-02f, -3.861165792e-02f,
     -2.606821619e-02f, -1.709877141e-02f, -1.090291422e-02f, -6.761913653e-03f, -4.080755636e-03f, -2.397313248e-03f,
     -1.371420571e-03f, 1.735894568e-02f},
    {-3.985641003e-01f, -3.902699649e-01f, -3.643458188e-01f, -3.240727186e-01f, -2.732429206e-01f, -2.164118141e-01f,
     -1.582806259e-01f, -1.031275913e-01f, -5.436142907e-02f, -1.425284240e-02f, 1.613858156e-02f,  3.686177358e-02f,
     4.884305224e-02f,  5.358776823e-02f,  5.286964029e-02f,  4.847094789e-02f,  4.197859764e-02f,  3.466952592e-02f,
     2.746783011e-02f,  2.096007764e-02f,  1.544823125e-02f,  1.101998519e-02f,  7.620439865e-03f,  5.114512052e-03f,
     3.334821435e-03f,  2.114090836e-03f,  1.303872326e-03f,  7.827762747e-04f,  4.576417559e-04f,  2.606538765e-04f,
     1.446754613e-04f,  -1.870601089e-03f}};

inline __m512 gelu_coefficient(int power, __m512i piece) {
  const float* const of = kGeluPieces[power];
  return _mm512_permutex2var_ps(_mm512_load_ps(of), piece, _mm512_load_ps(of + 16));
}

/// x becomes x Phi(x), for what is rounded to bfloat16: max(x, 0) - |x| Phi(-|x|). The order of operands keeps what is
/// no number. Looking up a parabola's coefficients takes half the operations of a polynomial for all of the range, and
/// few of them wait for each other, which is what counts beside tiles.
template <int count>
inline void gelu(__m512 (&x)[count]) {
  constexpr int kSmallerSizeUnsigned = 0b1010, kInStep = count < 4 ? count : 4;  // more have no registers
  static_assert(count % kInStep == 0);
#pragma GCC unroll 8
  for (int first = 0; first < count; first += kInStep) {
    __m512 s[kInStep], tail[kInStep];
    __m512i piece[kInStep];
#pragma GCC unroll 8
    for (int i = 0; i < kInStep; ++i) {
      s[i] = _mm512_range_ps(x[first + i], _mm512_set1_ps(kGeluReach), kSmallerSizeUnsigned);
    }
#pragma GCC unroll 8
    for (int i = 0; i < kInStep; ++i) {
      piece[i] = _mm512_castps_si512(_mm512_fmadd_ps(s[i], _mm512_set1_ps(1 / kGeluPiece), _mm512_set1_ps(kRounding)));
    }
#pragma GCC unroll 8
    for (int i = 0; i < kInStep; ++i) {
      tail[i] = _mm512_fmadd_ps(gelu_coefficient(2, piece[i]), s[i], gelu_coefficient(1, piece[i]));
    }
#pragma GCC unroll 8
    for (int i = 0; i < kInStep; ++i) tail[i] = _mm512_fmadd_ps(tail[i], s[i], gelu_coefficient(0, piece[i]));
#pragma GCC unroll 8
    for (int i = 0; i < kInStep; ++i) {
      x[first + i] = _mm512_sub_ps(_mm512_max_ps(_mm512_setzero_ps(), x[first + i]), tail[i]);
    }
  }
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
