/// What this processor offers to the hand-written kernels. Asked once, at run time: the program itself is built for
/// plain x86-64.
#pragma once

namespace tessera {

/// True when AVX-512 F/BW/VL/DQ and its bfloat16 conversions can be used.
bool cpu_has_avx512_bf16();

/// The same with the dot products of bytes (VNNI).
bool cpu_has_avx512_vnni();

/// True when the AMX tiles can be used for bfloat16 (for int8): the processor has them, AVX-512 bfloat16 is there too
/// (the kernels around the tiles use it), and the system has granted this process the tile registers (asked on the
/// first call).
bool cpu_has_amx_bf16();
bool cpu_has_amx_int8();

/// True when AVX2 and FMA can be used; what needs no more than that (float_gemm.h, byte_gemm.h) is for processors
/// without AVX512-BF16, too.
bool cpu_has_avx2();

/// True when dot products of bytes can be used on vectors of 32 bytes: AVX-VNNI, or AVX512-VNNI with its short vectors.
bool cpu_has_avx_vnni();
bool cpu_has_short_avx512_vnni();

/// An upper limit for the kernels, for tests and for comparisons; the environment's TESSERA_MAX_CPU_ISA sets the same
/// ("plain", "avx2", "avx_vnni", "avx512", "amx"; default amx). Below `amx` the GEMMs use the dot products of AVX-512,
/// below that float32 and, for int8, bytes on vectors of 32 bytes; with `plain` LibTorch.
enum class CpuLimit { plain, avx2, avx_vnni, avx512, amx };
void set_cpu_limit(CpuLimit limit);
CpuLimit cpu_limit();

/// Which kernels compute here: "amx", "avx512-bf16", "avx-vnni", "avx2", "neon" or "plain". Each rounds in its own
/// order, so that a sampler near a tie may decide otherwise; records of pictures hold it.
const char* cpu_kernels();

}  // namespace tessera
