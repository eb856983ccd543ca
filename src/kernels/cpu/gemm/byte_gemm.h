/// GEMM of quantised operands on vectors of 32 bytes, for processors without AVX512-BF16: AVX-VNNI's or AVX512-VNNI's
/// dot products of bytes, else AVX2's of 16-bit numbers. Quantised as int8_gemm.h says, the sums exact in int32: what
/// comes out differs from there in the rounding of the epilogue alone.
#pragma once

#include <cstdint>

namespace tessera::bytes {

/// Which instructions multiply; they read operands of different forms.
enum class Dot { none, words, bytes };
Dot best_dot();

inline constexpr std::int64_t kPanel = 16;  // columns of B that lie together

/// Units of four bytes that a row of `depth` numbers takes: two words or four bytes each, padded with zeros.
std::int64_t units(Dot dot, std::int64_t depth);

/// Weights [columns <= kPanel, depth] float32, `ld` elements apart -> packed [units][kPanel], the channels' scales and
/// the sums of their quantised weights [kPanel].
void pack(Dot dot, const float* weight, std::int64_t ld, std::int64_t columns, std::int64_t depth, std::int32_t* packed,
          float* scale, std::int32_t* sum);

/// One row of bfloat16 [depth] -> quantised [units] and its scale.
void quantise_row(Dot dot, const std::uint16_t* row, std::int64_t depth, std::int32_t* quantised, float* scale);

enum class Result {
  rounded,  // bfloat16
  gelu,     // x Phi(x), bfloat16, not rounded before
  sum       // float32, plus the residual where there is one
};

/// result[r, c] = f(row_scale[r] channel_scale[c] (a b)[r, c] + bias[c]) (+ residual[r, c])
struct Gemm {
  const std::int32_t* a = nullptr;  // [rows][units], from quantise_row
  const float* row_scale = nullptr;
  const std::int32_t* b = nullptr;  // [columns / kPanel][units][kPanel], from pack; columns padded to whole panels
  const float* channel_scale = nullptr;
  const std::int32_t* channel_sum = nullptr;
  std::int64_t rows = 0, columns = 0, units = 0;
  const float* bias = nullptr;      // or null
  const float* residual = nullptr;  // or null; may be the output
  void* output = nullptr;           // bfloat16 or float32
  std::int64_t output_ld = 0;       // elements; the residual's rows lie alike
};
void multiply(Dot dot, Result result, const Gemm& gemm);

}  // namespace tessera::bytes
