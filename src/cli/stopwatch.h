/// Times as `tessera bench` takes them.
#pragma once

#include <torch/torch.h>

#include <chrono>
#include <cstdint>
#include <functional>

namespace tessera::cli {

/// Median of the repeats after one run that does not count, in milliseconds.
double median_ms(std::int64_t repeats, const std::function<void()>& work);
/// The same of work that a device has done in full, and on a GPU has recorded (kernels/ops/cuda_graph.h).
double median_ms(torch::Device device, std::int64_t repeats, const std::function<void()>& work);

}  // namespace tessera::cli
