/// Where networks compute: the CPU, or a GPU through LibTorch's CUDA.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>

#include "kernels/ops/layers.h"
#include "kernels/ops/machine_peak.h"

namespace tessera {

/// "cpu", "cuda" (the first GPU) or "cuda:N". Throws Error for other names and where this machine or this LibTorch has
/// no such GPU. Float32 products on a GPU stay float32 from then on (no TF32).
torch::Device device_from(const std::string& name);

/// Whether products of bfloat16 are computed by instructions of their own: AVX512-BF16 or AMX, GPUs from Ampere on.
bool has_bfloat16(torch::Device device);

/// The precision of a name for inference on a device: float32, bfloat16, float16 (GPUs), int8 (CPUs), or auto, which is
/// what is fastest there without being an emulation
/// (GPUs: float16, which is more exact than bfloat16 as well). Throws Error naming what is expected.
Precision precision_from(const std::string& name, torch::Device device);
/// The precision of the codec beside it: the same, but bfloat16 for float16 where the device has it. A decoder's
/// activations are not normalised between the residual blocks, and float16 ends at 65,504.
Precision precision_of_codec(Precision precision, torch::Device device);
/// The name of one.
std::string name_of(Precision precision);

/// Returns when the device has done all that was asked of it; clocks are read after this.
void wait_for(torch::Device device);

/// What LibTorch's large products reach on a GPU, GFLOP/s (8,192 rows, columns and depth, random operands): the limit
/// beside which benchmarks are read. int8 is 0.
MachinePeak measure_device_peak(torch::Device device);

/// Bytes of a GPU's memory in use, by whomever. 0 for the CPU.
std::int64_t device_memory_in_use(torch::Device device);

}  // namespace tessera
