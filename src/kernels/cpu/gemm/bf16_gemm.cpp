#include "kernels/cpu/gemm/bf16_gemm.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "kernels/ops/isa.h"

#pragma GCC push_options
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // false alarm inside GCC 12's own intrinsics
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx512vnni,fma,prfchw,amx-tile,amx-bf16,amx-int8")
#include "kernels/cpu/gemm/block_kernel.h"
#include "kernels/cpu/gemm/epilogue.h"

namespace tessera::bf16 {
namespace {

constexpr int64_t kRowsTogether = 16;  // tiles of output pixels that meet one panel of weights while it is in the cache

/// Where a flattened pixel lies, or null outside the image.
const uint16_t* locate(const Pixels& pixels, int64_t row, int64_t column) {
  return row < pixels.rows && column < pixels.columns ? pixels.data + row * pixels.row_step + column * pixels.pixel_step
                                                      : nullptr;
}

/// Rows of a block of sums.
struct RowsOf {
  const float* sums = nullptr;
  template <int vectors>
  void load(__m512 (&values)[vectors]) const {
#pragma GCC unroll 8
    for (int i = 0; i < vectors; ++i) values[i] = _mm512_load_ps(sums + 16 * i);
  }
  void skip(int64_t rows) {
    sums += 32 * rows;
  }
};

/// Brings near the rows of sums that the next block is added to, some with each step.
struct Fetching {
  const float* row;
  int64_t ld, rows_a_step;

  [[gnu::always_inline]] void operator()() {
    for (int64_t i = 0; i < rows_a_step; ++i, row += ld) {
      _mm_prefetch(reinterpret_cast<const char*>(row), _MM_HINT_ET0);
      _mm_prefetch(reinterpret_cast<const char*>(row + 16), _MM_HINT_ET0);
    }
  }
};

__m256i load_pixel(const uint16_t* pixel, int64_t channel, __mmask16 mask) {
  return pixel == nullptr ? _mm256_setzero_si256() : _mm256_maskz_loadu_epi16(mask, pixel + channel);
}

/// How a product's operands lie.
Block block_of(const Gemm& gemm) {
  Block block;
  block.ld = gemm.input_pixel;
  block.a_step = kDepth;
  block.taps = gemm.taps;
  block.depth = gemm.depth;
  block.tap_offset = gemm.tap_offset;
  block.a_passes = gemm.taps == 1;  // the taps of a larger kernel read the same pixels
  block.b_half = kTile;
  block.b_step = 2 * kTile;
  return block;
}

template <Result result>
void multiply_to(const Gemm& gemm) {
  const BlockKernel<Element::bfloat16> block_kernel;
  alignas(64) float sums[2][32 * 32], bias[kPanel];
  const int64_t across = blocks(gemm.columns, 16), count = gemm.rows * across;
  const int64_t steps = gemm.taps * gemm.depth, panel = steps * 2 * kTile,
                apart = gemm.weights_panel > 0 ? gemm.weights_panel : panel;
  Epilogue<result, RowsOf> epilogue(gemm, steps);  // a kernel may have no tap that reaches the output
  Block block = block_of(gemm);
  block.accumulators = sums[0];
  block.start = gemm.bias != nullptr ? bias : nullptr;
  for (int64_t begin = 0; begin < count; begin += kRowsTogether) {
    const int64_t end = std::min(begin + kRowsTogether, count);
    for (int64_t channel = 0; channel < gemm.channels; channel += kPanel) {
      const uint16_t* const weights = gemm.weights + channel / kPanel * apart;
      const uint16_t* const after = channel + kPanel < gemm.channels ? weights + apart : gemm.weights_after;
      block.begin_panel(weights, panel, blocks(end - begin, 2), gemm.far_weights ? after : nullptr);
      if (gemm.bias != nullptr) {
        const __mmask32 present = low_mask(gemm.channels - channel);
        _mm512_store_ps(bias, avx512::load16(gemm.bias + channel, __mmask16(present)));
        _mm512_store_ps(bias + 16, avx512::load16(gemm.bias + channel + 16, __mmask16(present >> 16)));
      }
      for (int64_t t = begin; t < end; t += 2) {
        const bool both = t + 1 < end;
        const int64_t y0 = t / across, x0 = t % across * 16;
        const int64_t y1 = both ? (t + 1) / across : y0, x1 = both ? (t + 1) % across * 16 : x0;
        block.first = gemm.input + y0 * gemm.input_row + x0 * gemm.input_pixel;
        block.second = gemm.input + y1 * gemm.input_row + x1 * gemm.input_pixel;
        block.rows = both ? 32 : 16;
        epilogue.multiply(block_kernel, block);
        const auto width = [&](int64_t x) { return std::min<int64_t>(16, gemm.columns - x); };
        const auto place = [&](int64_t y, int64_t x) { return y * gemm.output_row + x * gemm.output_pixel; };
        epilogue.add({block.accumulators}, channel, width(x0), place(y0, x0), both ? width(x1) : 0, place(y1, x1));
        block.accumulators = block.accumulators == sums[0] ? sums[1] : sums[0];
      }
    }
  }
  epilogue.rest();
}

/// A deep product into float32, as much of the depth at a time as the first-level cache holds of a panel of weights:
/// what was added up so far is read again from the output.
void multiply_deep(const Gemm& gemm, int64_t parts) {
  const int64_t most = blocks(gemm.depth, parts), panel = gemm.depth * 2 * kTile;
  for (int64_t begin = 0; begin < gemm.depth; begin += most) {
    Gemm part = gemm;
    part.depth = std::min(most, gemm.depth - begin);
    part.input = gemm.input + begin * kDepth;
    part.weights = gemm.weights + begin * 2 * kTile;
    part.weights_panel = panel;
    if (begin + part.depth < gemm.depth) part.weights_after = part.weights + part.depth * 2 * kTile;
    if (begin > 0) {
      part.bias = nullptr;
      part.residual = gemm.sum;
    }
    for_result(part, [&]<Result result>() { multiply_to<result>(part); });
  }
}

}  // namespace

void multiply(const Gemm& gemm) {
  constexpr int64_t kDeep = 16;  // 32 KB of weights a panel
  if (gemm.sum != nullptr && gemm.taps == 1 && gemm.depth > kDeep) {
    return multiply_deep(gemm, blocks(gemm.depth, kDeep));
  }
  for_result(gemm, [&]<Result result>() { multiply_to<result>(gemm); });
}

void multiply_onto(const Gemm& gemm, int64_t fresh, int64_t fresh_end) {
  constexpr int64_t kRows = 32, kMostRows = 16 * kRowsTogether;
  const BlockKernel<Element::bfloat16> block_kernel;
  const int64_t ld = gemm.output_pixel, panel = gemm.depth * 2 * kTile,
                apart = gemm.weights_panel > 0 ? gemm.weights_panel : panel;
  Block block = block_of(gemm);
  block.accumulators_ld = ld;
  for (int64_t begin = 0; begin < gemm.columns; begin += kMostRows) {
    const int64_t end = std::min(begin + kMostRows, gemm.columns);
    for (int64_t channel = 0; channel < gemm.channels; channel += kPanel) {
      const uint16_t* const weights = gemm.weights + channel / kPanel * apart;
      const uint16_t* const after = channel + kPanel < gemm.channels ? weights + apart : gemm.weights_after;
      block.begin_panel(weights, panel, (end - begin) / kRows, gemm.far_weights ? after : nullptr);
      block.start = gemm.bias != nullptr ? gemm.bias + channel : nullptr;
      for (int64_t row = begin; row < end; row += kRows) {
        block.first = gemm.input + row * gemm.input_pixel;
        block.second = block.first + 16 * gemm.input_pixel;
        block.accumulators = gemm.sum + row * ld + channel;
        block.add = row < fresh || row >= fresh_end;
        const float* const coming =
            row + kRows < end ? block.accumulators + kRows * ld : gemm.sum + begin * ld + channel + kPanel;
        Fetching fetching{coming, ld, (kRows + gemm.depth - 1) / gemm.depth};
        block_kernel(block, fetching);
      }
    }
  }
}

void pack_forward(const float* weight, int64_t outputs, int64_t inputs, int64_t taps, int64_t output, int64_t tap,
                  uint16_t* packed) {
  __m512i rows[16];
  for (int64_t panel = 0; panel < outputs; panel += kPanel) {
    for (int64_t t = 0; t < taps; ++t) {
      for (int64_t k = 0; k < inputs; k += kDepth) {
        const __mmask32 mask = low_mask(inputs - k);
        for (int64_t half = 0; half < 2; ++half, packed += kTile) {
          for (int64_t r = 0; r < 16; ++r) {
            const int64_t o = panel + 16 * half + r;
            rows[r] = _mm512_setzero_si512();
            if (o < outputs) {
              const float* from = weight + o * output + t * tap + k;
              rows[r] = (__m512i)_mm512_cvtne2ps_pbh(_mm512_maskz_loadu_ps(__mmask16(mask >> 16), from + 16),
                                                     _mm512_maskz_loadu_ps(__mmask16(mask), from));
            }
          }
          transpose16(rows);
          for (int64_t r = 0; r < 16; ++r) _mm512_storeu_si512(packed + 32 * r, rows[r]);
        }
      }
    }
  }
}

void pack_backward(const float* weight, int64_t outputs, int64_t inputs, int64_t taps, const int64_t* order,
                   int64_t output, int64_t tap, uint16_t* packed) {
  for (int64_t panel = 0; panel < inputs; panel += kPanel) {
    for (int64_t t = 0; t < taps; ++t) {
      for (int64_t k = 0; k < outputs; k += kDepth) {
        for (int64_t half = 0; half < 2; ++half, packed += kTile) {
          const int64_t i = panel + 16 * half;
          const __mmask16 mask = i < inputs ? avx512::tail_mask(inputs - i) : __mmask16(0);
          for (int64_t r = 0; r < 16; ++r) {
            const float* from = weight + (k + 2 * r) * output + order[t] * tap + i;
            const __mmask16 even = k + 2 * r < outputs ? mask : __mmask16(0),
                            odd = k + 2 * r + 1 < outputs ? mask : __mmask16(0);
            const __m512 a = _mm512_maskz_loadu_ps(even, from), b = _mm512_maskz_loadu_ps(odd, from + output);
            _mm512_storeu_si512(packed + 32 * r,
                                interleave((__m256i)_mm512_cvtneps_pbh(a), (__m256i)_mm512_cvtneps_pbh(b)));
          }
        }
      }
    }
  }
}

void accumulate(const Gradient& gradient) {
  constexpr int64_t kSteps = 8;  // of 32 pixels: their tiles of A and B stay in the first-level cache for all taps
  const BlockKernel<Element::bfloat16> block_kernel;
  Block block;
  block.ld = 32;
  block.a_step = kTile;
  block.b_half = gradient.b_block;
  block.b_step = kTile;
  block.accumulators_ld = gradient.inputs;
  block.add = true;
  for (int64_t begin = 0; begin < gradient.steps; begin += kSteps) {
    block.depth = std::min(kSteps, gradient.steps - begin);
    for (int64_t o = 0; o < gradient.outputs; o += 32) {
      block.first = gradient.a + o / 16 * gradient.a_block + begin * kTile;
      block.second = block.first + gradient.a_block;
      for (int64_t i = 0; i < gradient.inputs; i += 32) {
        for (int64_t tap = 0; tap < gradient.taps; ++tap) {
          block.b = gradient.b + i / 16 * gradient.b_block + gradient.tap_offset[tap] + begin * kTile;
          block.accumulators = gradient.gradient + (tap * gradient.outputs + o) * gradient.inputs + i;
          block_kernel(block);
        }
      }
    }
  }
}

void pack_transposed(const Pixels& pixels, int64_t steps, uint16_t* packed, float* sums) {
  const int64_t padded = blocks(pixels.channels, 32) * 32;
  const uint16_t* at[32];
  __m512i rows[16];
  for (int64_t step = 0; step < steps; ++step) {
    int64_t row = step * 32 / pixels.ld, column = step * 32 % pixels.ld;
    for (auto& pixel : at) {
      pixel = locate(pixels, row, column);
      if (++column == pixels.ld) {
        column = 0;
        ++row;
      }
    }
    for (int64_t c = 0; c < padded; c += 16) {
      const __mmask16 mask = c < pixels.channels ? avx512::tail_mask(pixels.channels - c) : __mmask16(0);
      __m512 even = _mm512_setzero_ps(), odd = _mm512_setzero_ps();
      for (int r = 0; r < 16; ++r) {
        rows[r] = interleave(load_pixel(at[2 * r], c, mask), load_pixel(at[2 * r + 1], c, mask));
        even = _mm512_add_ps(even, _mm512_castsi512_ps(_mm512_slli_epi32(rows[r], 16)));
        odd = _mm512_add_ps(odd, _mm512_castsi512_ps(_mm512_and_si512(rows[r], _mm512_set1_epi32(int(0xffff0000u)))));
      }
      if (sums != nullptr) {
        const __m512 before = _mm512_maskz_loadu_ps(mask, sums + c);
        _mm512_mask_storeu_ps(sums + c, mask, _mm512_add_ps(before, _mm512_add_ps(even, odd)));
      }
      transpose16(rows);
      uint16_t* to = packed + (c / 16 * steps + step) * kTile;
      for (int r = 0; r < 16; ++r) _mm512_storeu_si512(to + 32 * r, rows[r]);
    }
  }
}

void pack_pairs(const Pixels& pixels, int64_t first, int64_t pairs, uint16_t* packed) {
  const int64_t padded = blocks(pixels.channels, 32) * 32;
  int64_t row = first / pixels.ld, column = first % pixels.ld;
  const auto next = [&] {
    const uint16_t* pixel = locate(pixels, row, column);
    if (++column == pixels.ld) {
      column = 0;
      ++row;
    }
    return pixel;
  };
  for (int64_t pair = 0; pair < pairs; ++pair) {
    const uint16_t *a = next(), *b = next();
    for (int64_t c = 0; c < padded; c += 16) {
      const __mmask16 mask = c < pixels.channels ? avx512::tail_mask(pixels.channels - c) : __mmask16(0);
      _mm512_storeu_si512(packed + (c / 16 * pairs + pair) * 32,
                          interleave(load_pixel(a, c, mask), load_pixel(b, c, mask)));
    }
  }
}

Gradient pack_rows(const uint16_t* a, int64_t outputs, const uint16_t* b, int64_t inputs, int64_t rows,
                   uint16_t* packed_a, uint16_t* packed_b, float* a_sums) {
  static constexpr int64_t kNoOffset = 0;
  const int64_t steps = blocks(rows, 32);
  Pixels pixels;
  pixels.rows = 1;
  pixels.columns = rows;
  pixels.ld = steps * 32;
  pixels.data = a;
  pixels.channels = pixels.pixel_step = outputs;
  pack_transposed(pixels, steps, packed_a, a_sums);
  pixels.data = b;
  pixels.channels = pixels.pixel_step = inputs;
  pack_pairs(pixels, 0, steps * 16, packed_b);
  Gradient gradient;
  gradient.a = packed_a;
  gradient.b = packed_b;
  gradient.a_block = gradient.b_block = steps * kTile;
  gradient.tap_offset = &kNoOffset;
  gradient.steps = steps;
  gradient.outputs = blocks(outputs, 32) * 32;
  gradient.inputs = blocks(inputs, 32) * 32;
  return gradient;
}

void pad_image(const uint16_t* image, int64_t rows, int64_t columns, int64_t channels, int64_t top, int64_t left,
               int64_t height, int64_t width, int64_t padded, uint16_t* result) {
  const size_t line = size_t(width * padded) * sizeof(uint16_t);
  for (int64_t y = 0; y < height; ++y) {
    uint16_t* to = result + y * width * padded;
    if (y < top || y >= top + rows) {
      std::memset(to, 0, line);
      continue;
    }
    std::memset(to, 0, size_t(left * padded) * sizeof(uint16_t));
    const int64_t after = left + columns;
    std::memset(to + after * padded, 0, size_t((width - after) * padded) * sizeof(uint16_t));
    to += left * padded;
    const uint16_t* from = image + (y - top) * columns * channels;
    if (channels == padded) {
      std::memcpy(to, from, size_t(columns * channels) * sizeof(uint16_t));
      continue;
    }
    for (int64_t x = 0; x < columns; ++x, to += padded, from += channels) {
      for (int64_t c = 0; c < padded; c += 32) {
        _mm512_storeu_si512(to + c, _mm512_maskz_loadu_epi16(low_mask(channels - c), from + c));
      }
    }
  }
}

}  // namespace tessera::bf16

#pragma GCC pop_options

#endif
