#include "kernels/cpu/gemm/byte_gemm.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "kernels/cpu/erf_coefficients.h"
#include "kernels/ops/isa.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace tessera::bytes {

std::int64_t units(Dot dot, std::int64_t depth) {
  const std::int64_t numbers = dot == Dot::bytes ? 4 : 2;
  return (depth + numbers - 1) / numbers;
}

void pack(Dot dot, const float* weight, std::int64_t ld, std::int64_t columns, std::int64_t depth, std::int32_t* packed,
          float* scale, std::int32_t* sum) {
  const std::int64_t numbers = dot == Dot::bytes ? 4 : 2;
  std::memset(packed, 0, static_cast<std::size_t>(units(dot, depth) * kPanel) * sizeof(std::int32_t));
  for (std::int64_t c = 0; c < kPanel; ++c) {
    scale[c] = 1;
    sum[c] = 0;
    if (c >= columns) continue;
    const float* const row = weight + c * ld;
    float greatest = 0;
    for (std::int64_t d = 0; d < depth; ++d) greatest = std::max(greatest, std::fabs(row[d]));
    scale[c] = greatest > 0 ? greatest / 127 : 1;
    for (std::int64_t d = 0; d < depth; ++d) {
      const auto q = static_cast<std::int32_t>(std::nearbyint(row[d] / scale[c]));
      sum[c] += q;
      const auto at = (d / numbers * kPanel + c) * numbers + d % numbers;
      if (dot == Dot::bytes) {
        reinterpret_cast<std::int8_t*>(packed)[at] = static_cast<std::int8_t>(q);
      } else {
        reinterpret_cast<std::int16_t*>(packed)[at] = static_cast<std::int16_t>(q);
      }
    }
  }
}

#if defined(__x86_64__)
namespace {

[[gnu::always_inline]] inline std::uint16_t to_bfloat16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<std::uint16_t>((bits + 0x7FFFU + (bits >> 16 & 1U)) >> 16);
}

template <std::size_t size>
[[gnu::always_inline]] inline float polynomial(const float (&coefficients)[size], float x) {
  float sum = coefficients[0];
  for (std::size_t i = 1; i < size; ++i) sum = sum * x + coefficients[i];
  return sum;
}

/// A number at a time; loops over it become vectors.
[[gnu::always_inline]] inline float gelu(float value) {
  const float given = value * 0.70710678118654752F, x = std::min(std::max(given, -kErfRange), kErfRange),
              square = x * x;
  return 0.5F * value * (1 + x * polynomial(kErfNumerator, square) / polynomial(kErfDenominator, square));
}

#pragma GCC push_options
#pragma GCC target("avx2,fma")
namespace words {
using Number = std::int16_t;
constexpr std::int64_t kRows = 6;
constexpr std::int32_t kOffset = 0;
[[gnu::always_inline]] inline __m256i dot(__m256i sum, __m256i a, __m256i b) {
  return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
}
#include "kernels/cpu/gemm/byte_kernel-inl.h"
}  // namespace words
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx2,fma,avxvnni")
namespace vnni {
using Number = std::uint8_t;
constexpr std::int64_t kRows = 6;
constexpr std::int32_t kOffset = 128;
[[gnu::always_inline]] inline __m256i dot(__m256i sum, __m256i a, __m256i b) {
  return _mm256_dpbusd_avx_epi32(sum, a, b);
}
#include "kernels/cpu/gemm/byte_kernel-inl.h"
}  // namespace vnni
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx2,fma,avx512f,avx512vl,avx512vnni")
namespace short_avx512 {
using Number = std::uint8_t;
constexpr std::int64_t kRows = 12;
constexpr std::int32_t kOffset = 128;
[[gnu::always_inline]] inline __m256i dot(__m256i sum, __m256i a, __m256i b) {
  return _mm256_dpbusd_epi32(sum, a, b);
}
#include "kernels/cpu/gemm/byte_kernel-inl.h"
}  // namespace short_avx512
#pragma GCC pop_options

}  // namespace

Dot best_dot() {
  if (cpu_has_avx_vnni() || cpu_has_short_avx512_vnni()) return Dot::bytes;
  return cpu_has_avx2() ? Dot::words : Dot::none;
}

void quantise_row(Dot dot, const std::uint16_t* row, std::int64_t depth, std::int32_t* quantised, float* scale) {
  if (dot == Dot::words) return words::quantise_here(row, depth, quantised, scale);
  cpu_has_avx_vnni() ? vnni::quantise_here(row, depth, quantised, scale)
                     : short_avx512::quantise_here(row, depth, quantised, scale);
}

void multiply(Dot dot, Result result, const Gemm& gemm) {
  if (dot == Dot::words) return words::multiply_here(result, gemm);
  cpu_has_avx_vnni() ? vnni::multiply_here(result, gemm) : short_avx512::multiply_here(result, gemm);
}
#else
Dot best_dot() {
  return Dot::none;
}
void quantise_row(Dot, const std::uint16_t*, std::int64_t, std::int32_t*, float*) {}
void multiply(Dot, Result, const Gemm&) {}
#endif

}  // namespace tessera::bytes
