#include "kernels/ops/device.h"

#include <algorithm>
#include <chrono>

#include "kernels/ops/isa.h"
#include "runtime/error.h"
#include "runtime/seconds_since.h"

#ifdef TESSERA_WITH_CUDA
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAGuard.h>
#endif

namespace tessera {

torch::Device device_from(const std::string& name) {
  if (name == "cpu") return torch::kCPU;
  constexpr std::size_t kPrefix = 5;  // "cuda:"
  const bool numbered = name.starts_with("cuda:") && name.size() > kPrefix && name.size() < kPrefix + 4 &&
                        name.find_first_not_of("0123456789", kPrefix) == std::string::npos;
  require(name == "cuda" || numbered, "device '{}': expected cpu, cuda or cuda:N", name);
  require(torch::cuda::is_available(), "device '{}': this machine or this LibTorch has no CUDA", name);
  const int index = numbered ? std::stoi(name.substr(kPrefix)) : 0;
  const auto count = static_cast<int>(torch::cuda::device_count());
  require(index < count, "device '{}': this machine has {} GPU{}, numbered from 0", name, count, count == 1 ? "" : "s");
  at::globalContext().setAllowTF32CuDNN(false);
  return {torch::kCUDA, static_cast<torch::DeviceIndex>(index)};
}

bool has_bfloat16(torch::Device device) {
  if (device.is_cpu()) return cpu_has_avx512_bf16();
#ifdef TESSERA_WITH_CUDA
  constexpr int kAmpere = 8;
  return at::cuda::getDeviceProperties(device.index())->major >= kAmpere;
#else
  return false;
#endif
}

Precision precision_from(const std::string& name, torch::Device device) {
  if (name == "float32") return Precision::float32;
  if (name == "bfloat16") return Precision::bfloat16;
  if (name == "auto") {
    if (!device.is_cpu()) return Precision::float16;
    return has_bfloat16(device) ? Precision::bfloat16 : Precision::float32;
  }
  const bool known = name == "int8" || name == "float16";
  require(known, "dtype '{}': expected one of auto, float32, bfloat16, float16, int8", name);
  const char* const place = name == "int8" ? "cpu" : "cuda";
  require(device.is_cpu() == (name == "int8"), "dtype '{}': expected device {}, found {}", name, place, device.str());
  return name == "int8" ? Precision::int8 : Precision::float16;
}

Precision precision_of_codec(Precision precision, torch::Device device) {
  if (precision == Precision::float16) return has_bfloat16(device) ? Precision::bfloat16 : Precision::float16;
  return of_activations(precision);
}

std::string name_of(Precision precision) {
  switch (precision) {
    case Precision::float32:
      return "float32";
    case Precision::bfloat16:
      return "bfloat16";
    case Precision::float16:
      return "float16";
    case Precision::int8:
      break;
  }
  return "int8";
}

void wait_for(torch::Device device) {
  if (device.is_cuda()) torch::cuda::synchronize(device.index());
}

MachinePeak measure_device_peak(torch::Device device) {
  const torch::NoGradGuard no_grad;
  constexpr std::int64_t kSide = 8192;
  constexpr int kProducts = 10;
  const auto rate = [&](torch::ScalarType type) {
    const auto options = torch::TensorOptions(device);
    const auto a = torch::randn({kSide, kSide}, options).to(type), b = torch::randn({kSide, kSide}, options).to(type);
    auto product = torch::mm(a, b);
    double best = 0;
    for (int round = 0; round < 3; ++round) {
      wait_for(device);
      const auto begin = std::chrono::steady_clock::now();
      for (int i = 0; i < kProducts; ++i) torch::mm_out(product, a, b);
      wait_for(device);
      const double seconds = seconds_since(begin);
      best = std::max(best, 2e-9 * static_cast<double>(kSide) * kSide * kSide * kProducts / seconds);
    }
    return best;
  };
  MachinePeak peak;
  peak.float32 = rate(torch::kFloat32);
  peak.bfloat16 = rate(torch::kBFloat16);
  peak.float16 = rate(torch::kFloat16);
  return peak;
}

std::int64_t device_memory_in_use([[maybe_unused]] torch::Device device) {
#ifdef TESSERA_WITH_CUDA
  if (device.is_cuda()) {
    const c10::cuda::CUDAGuard guard(device);
    std::size_t free = 0, total = 0;
    if (cudaMemGetInfo(&free, &total) == cudaSuccess) return static_cast<std::int64_t>(total - free);
  }
#endif
  return 0;
}

}  // namespace tessera
