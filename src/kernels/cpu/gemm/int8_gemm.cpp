#include "kernels/cpu/gemm/int8_gemm.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "kernels/ops/isa.h"

#pragma GCC push_options
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // false alarm inside GCC 12's own intrinsics
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx512vnni,fma,prfchw,amx-tile,amx-bf16,amx-int8")
#include "kernels/cpu/gemm/block_kernel.h"
#include "kernels/cpu/gemm/epilogue.h"

namespace tessera::int8 {
namespace {

constexpr float kLargest = 127.f;
constexpr int kZero = 128;  // the byte that stands for 0 in a row of activations

float scale_of(float greatest) {
  return greatest == 0 ? 1.f : greatest / kLargest;  // what is no number makes its whole row no number
}

/// What 32 channels' byte sums begin with, and what makes values of them.
struct Channels {
  Channels() = default;
  Channels(const Gemm& gemm, int64_t channel) {
    const __mmask32 mask = low_mask(gemm.channels - channel);
    for (int half = 0; half < 2; ++half, channel += 16) {
      const __mmask16 present = __mmask16(mask >> (16 * half));
      const __m512i sum = _mm512_maskz_loadu_epi32(present, gemm.channel_sum + channel);
      start[half] = _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32(sum, std::countr_zero(unsigned(kZero))));
      scale[half] = avx512::load16(gemm.channel_scale + channel, present);
      bias[half] = gemm.bias != nullptr ? avx512::load16(gemm.bias + channel, present) : _mm512_setzero_ps();
    }
  }
  __m512i start[2] = {};
  __m512 scale[2] = {}, bias[2] = {};
};

/// Rows of a block of byte sums as the float32 values that they stand for.
struct RowsOf {
  const float *sums = nullptr, *row_scale = nullptr;
  const Channels* channels = nullptr;

  template <int vectors>
  void load(__m512 (&values)[vectors]) const {
    __m512 scale[vectors];
#pragma GCC unroll 8
    for (int i = 0; i < vectors; ++i) {
      values[i] = _mm512_cvtepi32_ps(_mm512_load_si512(sums + 16 * i));
      scale[i] = _mm512_mul_ps(channels->scale[i % 2], _mm512_set1_ps(row_scale[i / 2]));
    }
#pragma GCC unroll 8
    for (int i = 0; i < vectors; ++i) values[i] = _mm512_fmadd_ps(values[i], scale[i], channels->bias[i % 2]);
  }
  void skip(int64_t rows) {
    sums += 32 * rows;
    row_scale += rows;
  }
};

template <Result result>
void multiply_to(const Gemm& gemm) {
  constexpr int64_t kRowsTogether = 256;  // rows that meet one panel of weights while it is in the cache
  const BlockKernel<Element::int8> block_kernel;
  alignas(64) float sums[2][32 * 32];
  Channels channels[2];  // of the panel in work, and of the one before, some of whose rows are not finished yet
  int64_t turn = 0;
  Epilogue<result, RowsOf> epilogue(gemm, gemm.depth);
  Block block;  // its addresses count in two bytes
  block.ld = gemm.input_row / 2;
  block.a_step = kDepth / 2;
  block.depth = gemm.depth;
  block.a_passes = true;
  block.b_half = kTile / 2;
  block.b_step = kTile;
  block.accumulators = sums[0];
  const int64_t panel = gemm.depth * 2 * kTile;
  for (int64_t begin = 0; begin < gemm.rows; begin += kRowsTogether) {
    const int64_t end = std::min(begin + kRowsTogether, gemm.rows);
    for (int64_t channel = 0; channel < gemm.channels; channel += kPanel) {
      const int8_t* const weights = gemm.weights + channel / kPanel * panel;
      const int8_t* const after = channel + kPanel < gemm.channels ? weights + panel : gemm.weights_after;
      block.begin_panel(reinterpret_cast<const uint16_t*>(weights), panel / 2, padded(end - begin, 32) / 32,
                        reinterpret_cast<const uint16_t*>(after));
      turn = 1 - turn;
      channels[turn] = Channels(gemm, channel);
      block.start = reinterpret_cast<const float*>(channels[turn].start);
      for (int64_t row = begin; row < end; row += 32) {
        block.first = reinterpret_cast<const uint16_t*>(gemm.input) + row * block.ld;
        block.second = block.first + 16 * block.ld;
        block.rows = end - row > 16 ? 32 : 16;
        epilogue.multiply(block_kernel, block);
        const auto count = [&](int64_t first) { return std::clamp<int64_t>(end - first, 0, 16); };
        epilogue.add({block.accumulators, gemm.row_scale + row, &channels[turn]}, channel, count(row),
                     row * gemm.output_pixel, count(row + 16), (row + 16) * gemm.output_pixel);
        block.accumulators = block.accumulators == sums[0] ? sums[1] : sums[0];
      }
    }
  }
  epilogue.rest();
}

}  // namespace

void pack(const float* weight, int64_t weight_row, int64_t outputs, int64_t inputs, int8_t* packed, float* scale,
          int32_t* sum) {
  std::memset(packed, 0, size_t(packed_size(outputs, inputs)));
  const int64_t panel = padded(inputs, kDepth) * kPanel;
  for (int64_t o = 0; o < outputs; ++o) {
    const float* row = weight + o * weight_row;
    __m512 most = _mm512_setzero_ps();
    for (int64_t i = 0; i < inputs; i += 16) {
      most = _mm512_max_ps(most, _mm512_abs_ps(avx512::load16(row + i, avx512::tail_mask(inputs - i))));
    }
    scale[o] = scale_of(_mm512_reduce_max_ps(most));
    const __m512 divisor = _mm512_set1_ps(scale[o]);
    __m512i total = _mm512_setzero_si512();
    // tile of 16 channels by 64 inputs: [input / 4][channel][input % 4]
    int8_t* to = packed + o / kPanel * panel + o % kPanel / 16 * kTile + o % 16 * 4;
    for (int64_t i = 0; i < inputs; i += 16) {
      const __m512 x = avx512::load16(row + i, avx512::tail_mask(inputs - i));
      const __m512i value = _mm512_cvtps_epi32(_mm512_div_ps(x, divisor));
      total = _mm512_add_epi32(total, value);
      alignas(16) int8_t bytes[16];
      _mm_store_si128(reinterpret_cast<__m128i*>(bytes), _mm512_cvtepi32_epi8(value));
      for (int64_t four = 0; four < 4; ++four) {
        std::memcpy(to + i / kDepth * 2 * kTile + (i % kDepth / 4 + four) * 64, bytes + 4 * four, 4);
      }
    }
    sum[o] = _mm512_reduce_add_epi32(total);
  }
}

void quantise_rows(const uint16_t* input, int64_t input_row, int64_t rows, int64_t inputs, uint8_t* bytes,
                   float* scale) {
  constexpr int kFirstChooses = 0xca;  // a bit of the second operand where the first one has it, else of the third
  const __m512 rounding = _mm512_set1_ps(avx512::kRounding + kZero);
  alignas(64) static constexpr uint16_t kEven[32] = {0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30};
  const __m512i even = _mm512_load_si512(kEven);
  const int64_t wide = padded(inputs, kDepth);
  for (int64_t r = 0; r < rows; ++r, input += input_row, bytes += leading_dimension(inputs)) {
    // Without their sign the bits of bfloat16 are ordered as the values are; what is no number is the greatest.
    __m512i most = _mm512_setzero_si512();
    const uint16_t* const coming = input + 2 * input_row;  // may lie with another core; behind the last it does no harm
    for (int64_t c = 0; c < inputs; c += 32) {
      _mm_prefetch(reinterpret_cast<const char*>(coming + c), _MM_HINT_T0);
      const __m512i size =
          _mm512_and_si512(_mm512_maskz_loadu_epi16(low_mask(inputs - c), input + c), _mm512_set1_epi16(0x7fff));
      most = _mm512_max_epu16(most, size);
    }
    const __m512i greatest = _mm512_max_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(most)),
                                              _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(most, 1)));
    scale[r] = scale_of(std::bit_cast<float>(_mm512_reduce_max_epi32(greatest) << 16));
    const __m512 factor = _mm512_set1_ps(1.f / scale[r]);
    for (int64_t c = 0; c < wide; c += 32) {
      // Pairs of values: the first of each is in the lower half of 32 bits, the second in the upper.
      const __m512i pairs = _mm512_maskz_loadu_epi16(low_mask(inputs - c), input + c);
      const __m512 first = _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16)),
                   second = _mm512_castsi512_ps(_mm512_and_si512(pairs, _mm512_set1_epi32(int(0xffff0000u))));
      const __m512i lower = _mm512_castps_si512(_mm512_fmadd_ps(first, factor, rounding)),
                    upper = _mm512_slli_epi32(_mm512_castps_si512(_mm512_fmadd_ps(second, factor, rounding)), 8);
      const __m512i both = _mm512_ternarylogic_epi32(_mm512_set1_epi32(0xff), lower, upper, kFirstChooses);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(bytes + c),
                          _mm512_castsi512_si256(_mm512_permutexvar_epi16(even, both)));
    }
  }
}

void multiply(const Gemm& gemm) {
  for_result(gemm, [&]<Result result>() { multiply_to<result>(gemm); });
}

}  // namespace tessera::int8

#pragma GCC pop_options

#endif
