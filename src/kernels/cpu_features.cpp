#include "kernels/cpu_features.h"

#include <atomic>
#include <cstdlib>
#include <string>

#include "runtime/error.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace tessera {
namespace {

CpuLimit limit_from_environment() {
  const char* text = std::getenv("TESSERA_MAX_CPU_ISA");
  const std::string name = text == nullptr ? "amx" : text;
  if (name == "amx") return CpuLimit::amx;
  if (name == "avx512") return CpuLimit::avx512;
  if (name == "plain") return CpuLimit::plain;
  fail("TESSERA_MAX_CPU_ISA '{}': expected one of plain, avx512, amx", name);
}

std::atomic<CpuLimit>& limit() {
  static std::atomic<CpuLimit> value{limit_from_environment()};
  return value;
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
  return value && limit().load(std::memory_order_relaxed) >= CpuLimit::avx512;
}

bool cpu_has_avx512_vnni() {
  static const bool value = detect_avx512_vnni();
  return value && limit().load(std::memory_order_relaxed) >= CpuLimit::avx512;
}

bool cpu_has_amx_bf16() {
  static const bool value = detect_amx(1u << 22);
  return value && limit().load(std::memory_order_relaxed) >= CpuLimit::amx;
}

bool cpu_has_amx_int8() {
  static const bool value = detect_amx(1u << 25);
  return value && limit().load(std::memory_order_relaxed) >= CpuLimit::amx;
}

void set_cpu_limit(CpuLimit value) {
  limit().store(value, std::memory_order_relaxed);
}
CpuLimit cpu_limit() {
  return limit().load(std::memory_order_relaxed);
}

const char* cpu_kernels() {
  return cpu_has_amx_bf16() ? "amx" : cpu_has_avx512_bf16() ? "avx512-bf16" : "plain";
}

}  // namespace tessera
