#include "kernels/ops/machine_peak.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <thread>
#include <vector>

#include "kernels/cpu/gemm/tile_configuration.h"
#include "kernels/ops/isa.h"

namespace tessera {
namespace {

constexpr int kSums = 16;                // of TESSERA_REPEAT
constexpr std::int64_t kRounds = 20000;  // between two looks at the clock

/// Calls `round`, which does kRounds times `operations`, for 30 ms; the fastest call counts.
double rate_of_thread(double operations, void (*round)()) {
  using Clock = std::chrono::steady_clock;
  double best = 0;
  const auto begin = Clock::now();
  while (Clock::now() - begin < std::chrono::milliseconds(30)) {
    const auto start = Clock::now();
    round();
    const double nanoseconds = std::chrono::duration<double, std::nano>(Clock::now() - start).count();
    best = std::max(best, operations * double(kRounds) / nanoseconds);
  }
  return best;
}

/// The same on several threads at once, added up.
double best_rate(int threads, double operations, void (*round)()) {
  std::vector<double> rates(static_cast<std::size_t>(threads));
  std::vector<std::thread> others;
  for (std::size_t i = 1; i < rates.size(); ++i) {
    others.emplace_back([&, i] { rates[i] = rate_of_thread(operations, round); });
  }
  rates[0] = rate_of_thread(operations, round);
  for (auto& other : others) other.join();
  return std::accumulate(rates.begin(), rates.end(), 0.0);
}

/// One instruction: `step` of `sum`. Nobody reads the result, but the compiler is to make it, and in a register.
#define TESSERA_STEP(sum, step) \
  sum = step(sum);              \
  asm volatile("" : "+v"(sum));
/// kRounds times sixteen independent instructions, so that their latency is hidden.
#define TESSERA_REPEAT(Vector, zero, step)                                                       \
  Vector a = zero, b = zero, c = zero, d = zero, e = zero, f = zero, g = zero, h = zero;         \
  Vector sa = zero, sb = zero, sc = zero, sd = zero, se = zero, sf = zero, sg = zero, sh = zero; \
  for (std::int64_t round = 0; round < kRounds; ++round) {                                       \
    TESSERA_STEP(a, step)                                                                        \
    TESSERA_STEP(b, step)                                                                        \
    TESSERA_STEP(c, step)                                                                        \
    TESSERA_STEP(d, step)                                                                        \
    TESSERA_STEP(e, step)                                                                        \
    TESSERA_STEP(f, step)                                                                        \
    TESSERA_STEP(g, step)                                                                        \
    TESSERA_STEP(h, step)                                                                        \
    TESSERA_STEP(sa, step)                                                                       \
    TESSERA_STEP(sb, step)                                                                       \
    TESSERA_STEP(sc, step)                                                                       \
    TESSERA_STEP(sd, step)                                                                       \
    TESSERA_STEP(se, step)                                                                       \
    TESSERA_STEP(sf, step)                                                                       \
    TESSERA_STEP(sg, step)                                                                       \
    TESSERA_STEP(sh, step)                                                                       \
  }

__attribute__((target("avx2,fma"))) void float32_avx2() {
  const __m256 x = _mm256_set1_ps(1e-3F);
#define TESSERA_NEXT(sum) _mm256_fmadd_ps(x, x, sum)
  TESSERA_REPEAT(__m256, _mm256_setzero_ps(), TESSERA_NEXT)
#undef TESSERA_NEXT
}

#pragma GCC push_options
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // false alarm inside GCC 12's own intrinsics
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx512vnni,fma,amx-tile,amx-bf16,amx-int8")

void float32_avx512() {
  const __m512 x = _mm512_set1_ps(1e-3F);
#define TESSERA_NEXT(sum) _mm512_fmadd_ps(x, x, sum)
  TESSERA_REPEAT(__m512, _mm512_setzero_ps(), TESSERA_NEXT)
#undef TESSERA_NEXT
}

void bfloat16_avx512() {
  const auto x = (__m512bh)_mm512_setzero_si512();
#define TESSERA_NEXT(sum) _mm512_dpbf16_ps(sum, x, x)
  TESSERA_REPEAT(__m512, _mm512_setzero_ps(), TESSERA_NEXT)
#undef TESSERA_NEXT
}

void int8_avx512() {
  const __m512i x = _mm512_setzero_si512();
#define TESSERA_NEXT(sum) _mm512_dpbusd_epi32(sum, x, x)
  TESSERA_REPEAT(__m512i, x, TESSERA_NEXT)
#undef TESSERA_NEXT
}

void begin_tiles() {
  _tile_loadconfig(&kTileConfiguration);
  _tile_zero(4);
  _tile_zero(5);
  _tile_zero(6);
  _tile_zero(7);
}

void bfloat16_tiles() {
  begin_tiles();
  for (std::int64_t i = 0; i < kRounds; ++i) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_release();
}

void int8_tiles() {
  begin_tiles();
  for (std::int64_t i = 0; i < kRounds; ++i) {
    _tile_dpbusd(0, 4, 6);
    _tile_dpbusd(1, 4, 7);
    _tile_dpbusd(2, 5, 6);
    _tile_dpbusd(3, 5, 7);
  }
  _tile_release();
}

#pragma GCC pop_options
#undef TESSERA_REPEAT
#undef TESSERA_STEP

}  // namespace

MachinePeak measure_machine_peak(int threads) {
  constexpr double kTileProducts = 4 * 16 * 16;  // four tiles of 16 x 16 sums
  MachinePeak peak;
  if (cpu_has_avx512_bf16()) {
    peak.float32 = best_rate(threads, kSums * 16 * 2, float32_avx512);
    peak.bfloat16 = best_rate(threads, kSums * 16 * 4, bfloat16_avx512);
  } else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    peak.float32 = best_rate(threads, kSums * 8 * 2, float32_avx2);
  }
  if (cpu_has_avx512_vnni()) peak.int8 = best_rate(threads, kSums * 16 * 8, int8_avx512);
  if (cpu_has_amx_bf16()) peak.bfloat16 = best_rate(threads, kTileProducts * 32 * 2, bfloat16_tiles);
  if (cpu_has_amx_int8()) peak.int8 = best_rate(threads, kTileProducts * 64 * 2, int8_tiles);
  return peak;
}

}  // namespace tessera

#else

namespace tessera {

MachinePeak measure_machine_peak(int) {
  return {};
}

}  // namespace tessera

#endif
