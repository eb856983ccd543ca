/// Where the products of the fast kernels put their results. bfloat16 values are their bits in uint16_t.
#pragma once

#include <cstdint>

namespace tessera {

/// One of output, gelu (or both) and sum.
struct GemmOutput {
  const float* bias = nullptr;  // [channels] or null
  int64_t channels = 0;         // output channels
  uint16_t* output = nullptr;
  int64_t output_row = 0, output_pixel = 0;  // elements between neighbours, in all of the arrays below, too
  uint16_t* gelu = nullptr;                  // if not null: receives x Phi(x), of the output before it is rounded
  // If not null, receives the output in float32, plus `residual` where there is one, and `output` is not written.
  float* sum = nullptr;
  const float* residual = nullptr;
};

}  // namespace tessera
