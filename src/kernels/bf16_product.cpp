#include "kernels/bf16_product.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "kernels/cpu_features.h"

#pragma GCC push_options
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // false alarm inside GCC 12's own intrinsics
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx512vnni,fma,prfchw,amx-tile,amx-bf16,amx-int8")
#include "kernels/block_product.h"
#include "kernels/finish_block.h"

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
  int64_t pitch, rows_a_step;

  [[gnu::always_inline]] void operator()() {
    for (int64_t i = 0; i < rows_a_step; ++i, row += pitch) {
      _mm_prefetch(reinterpret_cast<const char*>(row), _MM_HINT_ET0);
      _mm_prefetch(reinterpret_cast<const char*>(row + 16), _MM_HINT_ET0);
    }
  }
};

__m256i load_pixel(const uint16_t* pixel, int64_t channel, __mmask16 mask) {
  return pixel == nullptr ? _mm256_setzero_si256() : _mm256_maskz_loadu_epi16(mask, pixel + channel);
}

/// How a product's operands lie.
Block block_of(const Product& product) {
  Block block;
  block.pitch = product.input_pixel;
  block.left_step = kDepth;
  block.taps = product.taps;
  block.depth = product.depth;
  block.tap_offset = product.tap_offset;
  block.left_passes = product.taps == 1;  // the taps of a larger kernel read the same pixels
  block.right_half = kTile;
  block.right_step = 2 * kTile;
  return block;
}

template <Result result>
void multiply_to(const Product& product) {
  const BlockProduct<Element::bfloat16> block_product;
  alignas(64) float sums[2][32 * 32], bias[kPanel];
  const int64_t across = blocks(product.columns, 16), count = product.rows * across;
  const int64_t steps = product.taps * product.depth, panel = steps * 2 * kTile,
                apart = product.weights_panel > 0 ? product.weights_panel : panel;
  Finishing<result, RowsOf> finishing(product, steps);  // a kernel may have no tap that reaches the output
  Block block = block_of(product);
  block.sums = sums[0];
  block.start = product.bias != nullptr ? bias : nullptr;
  for (int64_t begin = 0; begin < count; begin += kRowsTogether) {
    const int64_t end = std::min(begin + kRowsTogether, count);
    for (int64_t channel = 0; channel < product.channels; channel += kPanel) {
      const uint16_t* const weights = product.weights + channel / kPanel * apart;
      const uint16_t* const after = channel + kPanel < product.channels ? weights + apart : product.weights_after;
      block.begin_panel(weights, panel, blocks(end - begin, 2), product.far_weights ? after : nullptr);
      if (product.bias != nullptr) {
        const __mmask32 present = low_mask(product.channels - channel);
        _mm512_store_ps(bias, avx512::load16(product.bias + channel, __mmask16(present)));
        _mm512_store_ps(bias + 16, avx512::load16(product.bias + channel + 16, __mmask16(present >> 16)));
      }
      for (int64_t t = begin; t < end; t += 2) {
        const bool both = t + 1 < end;
        const int64_t y0 = t / across, x0 = t % across * 16;
        const int64_t y1 = both ? (t + 1) / across : y0, x1 = both ? (t + 1) % across * 16 : x0;
        block.first = product.input + y0 * product.input_row + x0 * product.input_pixel;
        block.second = product.input + y1 * product.input_row + x1 * product.input_pixel;
        block.rows = both ? 32 : 16;
        finishing.multiply(block_product, block);
        const auto width = [&](int64_t x) { return std::min<int64_t>(16, product.columns - x); };
        const auto place = [&](int64_t y, int64_t x) { return y * product.output_row + x * product.output_pixel; };
        finishing.add({block.sums}, channel, width(x0), place(y0, x0), both ? width(x1) : 0, place(y1, x1));
        block.sums = block.sums == sums[0] ? sums[1] : sums[0];
      }
    }
  }
  finishing.rest();
}

/// A deep product into float32, as much of the depth at a time as the first-level cache holds of a panel of weights:
/// what was added up so far is read again from the output.
void multiply_deep(const Product& product, int64_t parts) {
  const int64_t most = blocks(product.depth, parts), panel = product.depth * 2 * kTile;
  for (int64_t begin = 0; begin < product.depth; begin += most) {
    Product part = product;
    part.depth = std::min(most, product.depth - begin);
    part.input = product.input + begin * kDepth;
    part.weights = product.weights + begin * 2 * kTile;
    part.weights_panel = panel;
    if (begin + part.depth < product.depth) part.weights_after = part.weights + part.depth * 2 * kTile;
    if (begin > 0) {
      part.bias = nullptr;
      part.residual = product.sum;
    }
    for_result(part, [&]<Result result>() { multiply_to<result>(part); });
  }
}

}  // namespace

void multiply(const Product& product) {
  constexpr int64_t kDeep = 16;  // 32 KB of weights a panel
  if (product.sum != nullptr && product.taps == 1 && product.depth > kDeep) {
    return multiply_deep(product, blocks(product.depth, kDeep));
  }
  for_result(product, [&]<Result result>() { multiply_to<result>(product); });
}

void multiply_onto(const Product& product, int64_t fresh, int64_t fresh_end) {
  constexpr int64_t kRows = 32, kMostRows = 16 * kRowsTogether;
  const BlockProduct<Element::bfloat16> block_product;
  const int64_t pitch = product.output_pixel, panel = product.depth * 2 * kTile,
                apart = product.weights_panel > 0 ? product.weights_panel : panel;
  Block block = block_of(product);
  block.sums_pitch = pitch;
  for (int64_t begin = 0; begin < product.columns; begin += kMostRows) {
    const int64_t end = std::min(begin + kMostRows, product.columns);
    for (int64_t channel = 0; channel < product.channels; channel += kPanel) {
      const uint16_t* const weights = product.weights + channel / kPanel * apart;
      const uint16_t* const after = channel + kPanel < product.channels ? weights + apart : product.weights_after;
      block.begin_panel(weights, panel, (end - begin) / kRows, product.far_weights ? after : nullptr);
      block.start = product.bias != nullptr ? product.bias + channel : nullptr;
      for (int64_t row = begin; row < end; row += kRows) {
        block.first = product.input + row * product.input_pixel;
        block.second = block.first + 16 * product.input_pixel;
        block.sums = product.sum + row * pitch + channel;
        block.add = row < fresh || row >= fresh_end;
        const float* const coming =
            row + kRows < end ? block.sums + kRows * pitch : product.sum + begin * pitch + channel + kPanel;
        Fetching fetching{coming, pitch, (kRows + product.depth - 1) / product.depth};
        block_product(block, fetching);
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
  constexpr int64_t kSteps = 8;  // of 32 pixels: their left and right tiles stay in the first-level cache for all taps
  const BlockProduct<Element::bfloat16> block_product;
  Block block;
  block.pitch = 32;
  block.left_step = kTile;
  block.right_half = gradient.right_block;
  block.right_step = kTile;
  block.sums_pitch = gradient.inputs;
  block.add = true;
  for (int64_t begin = 0; begin < gradient.steps; begin += kSteps) {
    block.depth = std::min(kSteps, gradient.steps - begin);
    for (int64_t o = 0; o < gradient.outputs; o += 32) {
      block.first = gradient.left + o / 16 * gradient.left_block + begin * kTile;
      block.second = block.first + gradient.left_block;
      for (int64_t i = 0; i < gradient.inputs; i += 32) {
        for (int64_t tap = 0; tap < gradient.taps; ++tap) {
          block.right = gradient.right + i / 16 * gradient.right_block + gradient.tap_offset[tap] + begin * kTile;
          block.sums = gradient.gradient + (tap * gradient.outputs + o) * gradient.inputs + i;
          block_product(block);
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
    int64_t row = step * 32 / pixels.pitch, column = step * 32 % pixels.pitch;
    for (auto& pixel : at) {
      pixel = locate(pixels, row, column);
      if (++column == pixels.pitch) {
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
  int64_t row = first / pixels.pitch, column = first % pixels.pitch;
  const auto next = [&] {
    const uint16_t* pixel = locate(pixels, row, column);
    if (++column == pixels.pitch) {
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

Gradient pack_rows(const uint16_t* left, int64_t outputs, const uint16_t* right, int64_t inputs, int64_t rows,
                   uint16_t* packed_left, uint16_t* packed_right, float* left_sums) {
  static constexpr int64_t kNoOffset = 0;
  const int64_t steps = blocks(rows, 32);
  Pixels pixels;
  pixels.rows = 1;
  pixels.columns = rows;
  pixels.pitch = steps * 32;
  pixels.data = left;
  pixels.channels = pixels.pixel_step = outputs;
  pack_transposed(pixels, steps, packed_left, left_sums);
  pixels.data = right;
  pixels.channels = pixels.pixel_step = inputs;
  pack_pairs(pixels, 0, steps * 16, packed_right);
  Gradient gradient;
  gradient.left = packed_left;
  gradient.right = packed_right;
  gradient.left_block = gradient.right_block = steps * kTile;
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
