/// GEMM in float32 with prepacked weights, for inference on processors with AVX2, AVX-512 or NEON: Highway's vectors,
/// the best instructions chosen at run time (kernels/ops/isa.h may limit them). An element of the result is summed in
/// the order of the depth whatever the number of rows, the tasks and the threads, and whatever the width of a vector.
#pragma once

#include <cstdint>

namespace tessera::float32 {

/// Whether this processor has kernels of its own here; else LibTorch computes.
bool is_available();

/// Columns of B that lie together: two vectors.
std::int64_t panel();

/// output[r, c] = f(bias[c] + residual[r, c] + sum over taps t and depth d of a[r, t, d] b[c, t, d]), f the identity or
/// GELU. Rows of A and of the output may lie apart.
struct Gemm {
  const float* a = nullptr;  // row r begins at a + r * a_ld
  std::int64_t a_ld = 0;
  const std::int64_t* tap_offset = nullptr;  // [taps] elements into A; null: one tap, no offset
  std::int64_t taps = 1, depth = 0;
  const float* b = nullptr;  // from pack: [columns / panel][taps][depth][panel]
  std::int64_t b_depth = 0;  // that was packed for, of which `depth` is a part; 0: the same
  std::int64_t rows = 0, columns = 0;
  const float* bias = nullptr;      // [columns], or null
  bool gelu = false;                // x Phi(x), the exact (erf) form
  const float* residual = nullptr;  // may be the output itself
  std::int64_t residual_ld = 0;
  const float* row_factor = nullptr;  // [rows]: the sums are multiplied with it before the bias is added, or null
  float* output = nullptr;
  std::int64_t output_ld = 0;
};
void multiply(const Gemm& gemm);

/// Elements of the packed form of `columns` columns.
std::int64_t packed_size(std::int64_t columns, std::int64_t taps, std::int64_t depth);
/// b[c, t, d] lies at c * column + t * tap + d * step elements of `from`; columns beyond the last one become zeros.
void pack(const float* from, std::int64_t column, std::int64_t tap, std::int64_t step, std::int64_t columns,
          std::int64_t taps, std::int64_t depth, float* packed);

/// row = softmax(scale row) without its division, over `count` elements of each of `rows` rows `ld` apart; factor
/// [rows] becomes 1 over the sums. Elements from `count` to `padded` become zeros.
void softmax_rows(float* scores, std::int64_t rows, std::int64_t ld, std::int64_t count, std::int64_t padded,
                  float scale, float* factor);

}  // namespace tessera::float32
