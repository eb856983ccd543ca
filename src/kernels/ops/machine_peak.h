/// What this machine can compute at most, measured: the limit beside which benchmarks are read.
#pragma once

namespace tessera {

/// Operations a second, in units of 10^9 (a multiplication and an addition count as two), of threads that keep the
/// widest instructions busy on registers, all at once: two that share a core's units reach no more than one. 0 where
/// the processor lacks such instructions. Each takes about 30 ms.
struct MachinePeak {
  double float32 = 0;   // AVX-512 or AVX2 with FMA
  double bfloat16 = 0;  // AMX tiles or AVX512-BF16
  double float16 = 0;   // GPUs only
  double int8 = 0;      // AMX tiles or AVX512-VNNI
};
MachinePeak measure_machine_peak(int threads = 1);

}  // namespace tessera
