/// Products of rows in int8: weights with one scale a channel, activations with one scale a row, found anew for every
/// row. Pointers only, no LibTorch: compiled for a newer processor than the rest; call only where cpu_has_avx512_vnni()
/// (the AMX tiles are used where there are some). bfloat16 values are their bits in uint16_t.
///
/// A row x is stored as unsigned bytes u = round(x * (1 / s)) + 128 with s = max |x| / 127 (all in float32; a product,
/// because dividing would cost a tenth of an evaluation), a channel of weights as signed bytes w = round(W / v) with v
/// = max |W| / 127; then x W = s v (sum u w - 128 sum w), the sums exact in int32.
#pragma once

#include <cstdint>

#include "kernels/cpu/gemm/gemm_output.h"
#include "kernels/cpu/leading_dimension.h"

namespace tessera::int8 {

inline constexpr int64_t kDepth = 64;   // inputs in one tile
inline constexpr int64_t kPanel = 32;   // channels computed together
inline constexpr int64_t kTile = 1024;  // bytes

inline int64_t padded(int64_t count, int64_t of) {
  return (count + of - 1) / of * of;
}

/// Bytes that packed weights take.
inline int64_t packed_size(int64_t outputs, int64_t inputs) {
  return padded(outputs, kPanel) * padded(inputs, kDepth);
}

/// weight [outputs, inputs] float32, `weight_row` elements from an output to the next, into tiles; scale and sum
/// [outputs]: v and the sum of w above.
void pack(const float* weight, int64_t weight_row, int64_t outputs, int64_t inputs, int8_t* packed, float* scale,
          int32_t* sum);

/// rows [rows, inputs] bfloat16, `input_row` elements apart, as bytes [rows, inputs padded to 64],
/// leading_dimension(inputs) apart, and their scales [rows]. x times the float32 reciprocal of the scale is rounded
/// once, to the nearest whole number.
void quantise_rows(const uint16_t* input, int64_t input_row, int64_t rows, int64_t inputs, uint8_t* bytes,
                   float* scale);

/// output [rows, channels] = bias + input times weights; the fields of GemmOutput with output_pixel elements between
/// rows.
struct Gemm : GemmOutput {
  const uint8_t* input = nullptr;    // [rows padded to 32, depth * 64]; what the rows added hold does not matter
  int64_t input_row = 0;             // bytes between its rows, a multiple of 64
  const float* row_scale = nullptr;  // [rows]
  int64_t rows = 0;
  int64_t depth = 0;                      // inputs / 64
  const int8_t* weights = nullptr;        // from pack
  const int8_t* weights_after = nullptr;  // a panel that is likely to be read after these, or null
  const float* channel_scale = nullptr;
  const int32_t* channel_sum = nullptr;
};
void multiply(const Gemm& gemm);

}  // namespace tessera::int8
