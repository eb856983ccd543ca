#if TESSERA_WITH_HIGHWAY
// Vectors whose length is known when compiling alone: accumulators lie in arrays.
#undef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/gemm/float_gemm.cpp"
#include <hwy/foreach_target.h>  // compiles this file once for each kind of instructions
// After it:
#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

#include "kernels/cpu/erf_coefficients.h"
#include "kernels/cpu/gemm/float_gemm.h"
#include "kernels/ops/isa.h"

HWY_BEFORE_NAMESPACE();
namespace tessera::float32 {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#undef TESSERA_FLOAT_GEMM
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET <= HWY_AVX3 || HWY_TARGET == HWY_NEON || HWY_TARGET == HWY_NEON_WITHOUT_AES
#define TESSERA_FLOAT_GEMM 1
#else
#define TESSERA_FLOAT_GEMM 0
#endif

#if TESSERA_FLOAT_GEMM
using Tag = hn::ScalableTag<float>;
using Vector = hn::Vec<Tag>;
constexpr Tag kTag;
constexpr std::int64_t kLanes = static_cast<std::int64_t>(hn::MaxLanes(Tag())), kPanel = 2 * kLanes;
/// Rows of the micro-kernel: two accumulators each, two vectors of B and one of A fit the 16 or 32 registers.
constexpr std::int64_t kRows = kLanes == 8 ? 6 : kLanes == 4 ? 12 : 14;
constexpr std::int64_t kDepth = 256;  // of B's panel that stays in the first-level cache

/// The polynomial whose coefficients these are, the highest power first.
template <std::size_t size>
HWY_INLINE Vector polynomial(const float (&coefficients)[size], Vector x) {
  Vector sum = hn::Set(kTag, coefficients[0]);
  for (std::size_t i = 1; i < size; ++i) sum = hn::MulAdd(sum, x, hn::Set(kTag, coefficients[i]));
  return sum;
}

HWY_INLINE Vector erf(Vector given) {
  const Vector x = hn::Clamp(given, hn::Set(kTag, -kErfRange), hn::Set(kTag, kErfRange)), square = hn::Mul(x, x);
  return hn::Div(hn::Mul(x, polynomial(kErfNumerator, square)), polynomial(kErfDenominator, square));
}

HWY_INLINE Vector gelu(Vector x) {
  const Vector half = hn::Set(kTag, 0.5F), root = hn::Set(kTag, 0.70710678118654752F);
  return hn::Mul(hn::Mul(half, x), hn::Add(hn::Set(kTag, 1.F), erf(hn::Mul(x, root))));
}

/// What follows the sums of a tile, in place. bias: of the panel's columns, or null.
HWY_INLINE void finish_tile(const Gemm& gemm, std::int64_t row, std::int64_t rows, const float* bias, float* sums,
                            std::int64_t ld) {
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < kPanel; c += kLanes) {
      Vector sum = hn::LoadU(kTag, sums + r * ld + c);
      if (gemm.row_factor != nullptr) sum = hn::Mul(sum, hn::Set(kTag, gemm.row_factor[row + r]));
      if (bias != nullptr) sum = hn::Add(sum, hn::LoadU(kTag, bias + c));
      if (gemm.gelu) sum = gelu(sum);
      hn::StoreU(sum, kTag, sums + r * ld + c);
    }
  }
}

/// sums [rows, kPanel] = start + `rows` rows of A by a panel of B over `depth` of one tap. start: null for zeros.
template <std::int64_t rows>
HWY_NOINLINE void micro_kernel(const float* HWY_RESTRICT a, std::int64_t a_ld, const float* HWY_RESTRICT b,
                               std::int64_t depth, const float* start, std::int64_t start_ld, float* sums,
                               std::int64_t ld) {
  Vector low[rows], high[rows];
#pragma GCC unroll 16
  for (std::int64_t r = 0; r < rows; ++r) {
    low[r] = start == nullptr ? hn::Zero(kTag) : hn::LoadU(kTag, start + r * start_ld);
    high[r] = start == nullptr ? hn::Zero(kTag) : hn::LoadU(kTag, start + r * start_ld + kLanes);
  }
  for (std::int64_t k = 0; k < depth; ++k, b += kPanel) {
    const Vector b0 = hn::LoadU(kTag, b), b1 = hn::LoadU(kTag, b + kLanes);
#pragma GCC unroll 16
    for (std::int64_t r = 0; r < rows; ++r) {
      const Vector x = hn::Set(kTag, a[r * a_ld + k]);
      low[r] = hn::MulAdd(x, b0, low[r]);
      high[r] = hn::MulAdd(x, b1, high[r]);
    }
  }
#pragma GCC unroll 16
  for (std::int64_t r = 0; r < rows; ++r) {
    hn::StoreU(low[r], kTag, sums + r * ld);
    hn::StoreU(high[r], kTag, sums + r * ld + kLanes);
  }
}

using MicroKernel = void (*)(const float*, std::int64_t, const float*, std::int64_t, const float*, std::int64_t, float*,
                             std::int64_t);

template <std::int64_t... rows>
MicroKernel kernel_for(std::int64_t count, std::integer_sequence<std::int64_t, rows...>) {
  static constexpr MicroKernel kernels[] = {micro_kernel<rows + 1>...};
  return kernels[count - 1];
}

std::int64_t packed_depth(const Gemm& gemm) {
  return gemm.b_depth > 0 ? gemm.b_depth : gemm.depth;
}

/// A tile of at most kRows rows by the panel at `column`, narrower than kPanel: by way of memory of its own.
void multiply_narrow(const Gemm& gemm, std::int64_t row, std::int64_t rows, std::int64_t column, MicroKernel kernel) {
  HWY_ALIGN float sums[kRows * kPanel] = {}, bias[kPanel] = {};
  const std::int64_t width = gemm.columns - column;
  const auto size = static_cast<std::size_t>(width) * sizeof(float);
  if (gemm.bias != nullptr) std::memcpy(bias, gemm.bias + column, size);
  for (std::int64_t r = 0; gemm.residual != nullptr && r < rows; ++r)
    std::memcpy(sums + r * kPanel, gemm.residual + (row + r) * gemm.residual_ld + column, size);
  for (std::int64_t tap = 0; tap < gemm.taps; ++tap) {
    const float* const a = gemm.a + row * gemm.a_ld + (gemm.tap_offset != nullptr ? gemm.tap_offset[tap] : 0);
    kernel(a, gemm.a_ld, gemm.b + (column * gemm.taps + tap * kPanel) * packed_depth(gemm), gemm.depth, sums, kPanel,
           sums, kPanel);
  }
  finish_tile(gemm, row, rows, gemm.bias != nullptr ? bias : nullptr, sums, kPanel);
  for (std::int64_t r = 0; r < rows; ++r)
    std::memcpy(gemm.output + (row + r) * gemm.output_ld + column, sums + r * kPanel, size);
}

void multiply_here(const Gemm& gemm) {
  const std::int64_t tiles = (gemm.rows + kRows - 1) / kRows;
  for (std::int64_t column = 0; column < gemm.columns; column += kPanel) {
    const bool whole = gemm.columns - column >= kPanel;
    const std::int64_t piece = whole ? kDepth : gemm.depth;
    const float* const panel = gemm.b + column * gemm.taps * packed_depth(gemm);
    for (std::int64_t tap = 0; tap < (whole ? gemm.taps : 1); ++tap) {
      for (std::int64_t begin = 0; begin < gemm.depth; begin += piece) {
        const std::int64_t depth = std::min(piece, gemm.depth - begin);
        const bool first = tap == 0 && begin == 0, last = tap + 1 == gemm.taps && begin + depth == gemm.depth;
        // Tiles of about equal height: one of a single row takes as long as one of several.
        for (std::int64_t tile = 0; tile < tiles; ++tile) {
          const std::int64_t row = gemm.rows * tile / tiles, rows = gemm.rows * (tile + 1) / tiles - row;
          const MicroKernel kernel = kernel_for(rows, std::make_integer_sequence<std::int64_t, kRows>());
          if (!whole) {
            multiply_narrow(gemm, row, rows, column, kernel);
            continue;
          }
          float* const output = gemm.output + row * gemm.output_ld + column;
          const float* const start = !first                     ? output
                                     : gemm.residual != nullptr ? gemm.residual + row * gemm.residual_ld + column
                                                                : nullptr;
          const std::int64_t offset = gemm.tap_offset != nullptr ? gemm.tap_offset[tap] : 0;
          kernel(gemm.a + row * gemm.a_ld + begin + offset, gemm.a_ld,
                 panel + (tap * packed_depth(gemm) + begin) * kPanel, depth, start,
                 first ? gemm.residual_ld : gemm.output_ld, output, gemm.output_ld);
          if (last && (gemm.bias != nullptr || gemm.gelu || gemm.row_factor != nullptr))
            finish_tile(gemm, row, rows, gemm.bias != nullptr ? gemm.bias + column : nullptr, output, gemm.output_ld);
        }
      }
    }
  }
}

void softmax_rows_here(float* scores, std::int64_t rows, std::int64_t ld, std::int64_t count, std::int64_t padded,
                       float scale, float* factor) {
  for (std::int64_t r = 0; r < rows; ++r, scores += ld) {
    for (std::int64_t c = count; c < padded; ++c) scores[c] = 0;
    const std::int64_t whole = count / kLanes * kLanes;
    float most = scores[0];
    if (whole > 0) {
      Vector top = hn::LoadU(kTag, scores);
      for (std::int64_t c = kLanes; c < whole; c += kLanes) top = hn::Max(top, hn::LoadU(kTag, scores + c));
      most = hn::GetLane(hn::MaxOfLanes(kTag, top));
    }
    for (std::int64_t c = whole; c < count; ++c) most = std::max(most, scores[c]);
    const Vector by = hn::Set(kTag, scale), shift = hn::Set(kTag, -most * scale);
    Vector sum = hn::Zero(kTag);
    for (std::int64_t c = 0; c < whole; c += kLanes) {
      // Exp makes 0 of what is no number; a score times 0 brings it back.
      const Vector score = hn::LoadU(kTag, scores + c);
      const Vector e = hn::MulAdd(score, hn::Zero(kTag), hn::Exp(kTag, hn::MulAdd(score, by, shift)));
      hn::StoreU(e, kTag, scores + c);
      sum = hn::Add(sum, e);
    }
    float total = hn::GetLane(hn::SumOfLanes(kTag, sum));
    if (whole < count) {
      HWY_ALIGN float rest[kLanes] = {};
      std::memcpy(rest, scores + whole, static_cast<std::size_t>(count - whole) * sizeof(float));
      const Vector score = hn::LoadU(kTag, rest);
      hn::Store(hn::MulAdd(score, hn::Zero(kTag), hn::Exp(kTag, hn::MulAdd(score, by, shift))), kTag, rest);
      for (std::int64_t c = whole; c < count; ++c) total += scores[c] = rest[c - whole];
    }
    factor[r] = 1 / total;
  }
}

std::int64_t panel_here() {
  return kPanel;
}
#else
void multiply_here(const Gemm&) {}
void softmax_rows_here(float*, std::int64_t, std::int64_t, std::int64_t, std::int64_t, float, float*) {}
/// No kernels for these instructions.
std::int64_t panel_here() {
  return 0;
}
#endif

}  // namespace HWY_NAMESPACE
}  // namespace tessera::float32
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tessera::float32 {
HWY_EXPORT(multiply_here);
HWY_EXPORT(softmax_rows_here);
HWY_EXPORT(panel_here);

std::int64_t panel() {
  return HWY_DYNAMIC_DISPATCH(panel_here)();
}

bool is_available() {
  return cpu_limit() != CpuLimit::plain && panel() > 0;
}

void multiply(const Gemm& gemm) {
  HWY_DYNAMIC_DISPATCH(multiply_here)(gemm);
}

void softmax_rows(float* scores, std::int64_t rows, std::int64_t ld, std::int64_t count, std::int64_t padded,
                  float scale, float* factor) {
  HWY_DYNAMIC_DISPATCH(softmax_rows_here)(scores, rows, ld, count, padded, scale, factor);
}

std::int64_t packed_size(std::int64_t columns, std::int64_t taps, std::int64_t depth) {
  const std::int64_t width = panel();
  return (columns + width - 1) / width * width * taps * depth;
}

void pack(const float* from, std::int64_t column, std::int64_t tap, std::int64_t step, std::int64_t columns,
          std::int64_t taps, std::int64_t depth, float* packed) {
  const std::int64_t width = panel();
  for (std::int64_t first = 0; first < columns; first += width) {
    const std::int64_t count = std::min(width, columns - first);
    for (std::int64_t t = 0; t < taps; ++t) {
      const float* const at = from + first * column + t * tap;
      for (std::int64_t d = 0; d < depth; ++d, packed += width) {
        if (column == 1) {
          std::memcpy(packed, at + d * step, static_cast<std::size_t>(count) * sizeof(float));
        } else {
          for (std::int64_t c = 0; c < count; ++c) packed[c] = at[c * column + d * step];
        }
        for (std::int64_t c = count; c < width; ++c) packed[c] = 0;
      }
    }
  }
}

}  // namespace tessera::float32
#endif  // HWY_ONCE
#else
#include "kernels/cpu/gemm/float_gemm.h"

namespace tessera::float32 {
bool is_available() {
  return false;
}
std::int64_t panel() {
  return 0;
}
void multiply(const Gemm&) {}
std::int64_t packed_size(std::int64_t, std::int64_t, std::int64_t) {
  return 0;
}
void pack(const float*, std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t, float*) {}
void softmax_rows(float*, std::int64_t, std::int64_t, std::int64_t, std::int64_t, float, float*) {}
}  // namespace tessera::float32
#endif
