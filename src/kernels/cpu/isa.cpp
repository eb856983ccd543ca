#include "kernels/ops/isa.h"

#include <atomic>
#include <cstdlib>
#include <string>

#include "kernels/cpu/gemm/float_gemm.h"
#include "runtime/error.h"

#if TESSERA_WITH_HIGHWAY
#include <hwy/targets.h>
#endif

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace tessera {
namespace {

/// Highway's kernels follow the limit, too.
CpuLimit with_highway([[maybe_unused]] CpuLimit limit) {
#if TESSERA_WITH_HIGHWAY && defined(__x86_64__)
  hwy::DisableTargets(limit < CpuLimit::avx512 ? HWY_AVX2 - 1 : 0);  // better ones are the lower bits
#endif
  return limit;
}

CpuLimit limit_from_environment() {
  const char* text = std::getenv("TESSERA_MAX_CPU_ISA");
  const std::string name = text == nullptr ? "amx" : text;
  if (name == "amx") return CpuLimit::amx;
  if (name == "avx512") return CpuLimit::avx512;
  if (name == "avx_vnni") return CpuLimit::avx_vnni;
  if (name == "avx2") return CpuLimit::avx2;
  if (name == "plain") return CpuLimit::plain;
  fail("TESSERA_MAX_CPU_ISA '{}': expected one of plain, avx2, avx_vnni, avx512, amx", name);
}

std::atomic<CpuLimit>& limit() {
  static std::atomic<CpuLimit> value{with_highway(limit_from_environment())};
  return value;
}

bool detect_avx2() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return false;
#endif
}

bool detect_avx_vnni() {
#if defined(__x86_64__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  return detect_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & (1U << 4)) != 0;
#else
  return false;
#endif
}

bool detect_short_avx512_vnni() {
#if defined(__x86_64__)
  return detect_avx2() && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
#else
  return false;
#endif
}

bool detect_avx512_bf16() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

bool detect_avx512_vnni() {
#if defined(__x86_64__)
  return detect_avx512_bf16() && __builtin_cpu_supports("avx512vnni");
#else
  return false;
#endif
}

/// Whether the tiles can be used and the processor has `feature` of CPUID leaf 7's EDX for them.
bool detect_amx([[maybe_unused]] unsigned feature) {
#if defined(__x86_64__) && defined(__linux__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!detect_avx512_bf16() || __get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  constexpr unsigned kAmxTile = 1u << 24;
  if ((d & feature) == 0 || (d & kAmxTile) == 0) return false;
  // Linux hands out the 8 KiB of tile state only to processes that ask (arch_prctl, ARCH_REQ_XCOMP_PERM,
  // XFEATURE_XTILEDATA).
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

}  // namespace

bool cpu_has_avx512_bf16() {
  static const bool value = detect_avx512_bf16();
  return value && cpu_limit() >= CpuLimit::avx512;
}

bool cpu_has_avx512_vnni() {
  static const bool value = detect_avx512_vnni();
  return value && cpu_limit() >= CpuLimit::avx512;
}

bool cpu_has_avx2() {
  static const bool value = detect_avx2();
  return value && cpu_limit() >= CpuLimit::avx2;
}

bool cpu_has_avx_vnni() {
  static const bool value = detect_avx_vnni();
  return value && cpu_limit() >= CpuLimit::avx_vnni;
}

bool cpu_has_short_avx512_vnni() {
  static const bool value = detect_short_avx512_vnni();
  return value && cpu_limit() >= CpuLimit::avx_vnni;
}

bool cpu_has_amx_bf16() {
  static const bool value = detect_amx(1u << 22);
  return value && cpu_limit() >= CpuLimit::amx;
}

bool cpu_has_amx_int8() {
  static const bool value = detect_amx(1u << 25);
  return value && cpu_limit() >= CpuLimit::amx;
}

void set_cpu_limit(CpuLimit value) {
  limit().store(with_highway(value), std::memory_order_relaxed);
}
CpuLimit cpu_limit() {
  return limit().load(std::memory_order_relaxed);
}

const char* cpu_kernels() {
  if (cpu_has_amx_bf16()) return "amx";
  if (cpu_has_avx512_bf16()) return "avx512-bf16";
  if (cpu_has_avx_vnni() || cpu_has_short_avx512_vnni()) return "avx-vnni";
  if (cpu_has_avx2()) return "avx2";
  return float32::is_available() ? "neon" : "plain";
}

}  // namespace tessera
