/// Matrix products and convolutions in bfloat16 (on the AMX tiles where there are some, else by AVX512-BF16), and the
/// packing of their operands. Pointers only, no LibTorch: compiled for a newer processor than the rest; call only where
/// cpu_has_avx512_bf16(). bfloat16 values are their bits in uint16_t.
///
/// A convolution is a sum of matrix products, one for each tap of its kernel: the input is channels-last with its zeros
/// around it, so a tile of 16 neighbouring pixels by 32 channels is loaded straight from the image, and nothing is
/// unfolded. A linear layer is the convolution of a one-row image with one tap.
#pragma once

#include <cstdint>

#include "kernels/cpu/gemm/gemm_output.h"

namespace tessera::bf16 {

inline constexpr int64_t kDepth = 32;  // input channels in one tile
inline constexpr int64_t kPanel = 32;  // output channels computed together: two tiles
inline constexpr int64_t kTile = 512;  // elements of a tile: 16 rows of 32

inline int64_t blocks(int64_t count, int64_t of) {
  return (count + of - 1) / of;
}

/// output[y, x, :] = bias + sum over taps t and channels c of input[y, x, t, c] weights[t, c, :]
struct Gemm : GemmOutput {
  const uint16_t* input =
      nullptr;  // channels padded with zeros to a multiple of 32; 16 pixels past the last of a row are readable
  int64_t input_row = 0;    // elements between the inputs of neighbouring output rows
  int64_t input_pixel = 0;  // elements between the inputs of neighbouring output pixels
  int64_t depth = 0;        // input channels / 32
  int64_t taps = 1;
  const int64_t* tap_offset = nullptr;      // [taps] elements from a pixel's input to the tap's
  const uint16_t* weights = nullptr;        // [channels / 32][taps][depth][2 tiles], from pack_*
  int64_t weights_panel = 0;                // elements from 32 channels to the next; 0: they lie one behind the other
  const uint16_t* weights_after = nullptr;  // a panel that is likely to be read after these, or null
  bool far_weights = false;                 // they come from memory, so that asking for them early pays
  int64_t rows = 0, columns = 0;            // output pixels
};
void multiply(const Gemm& gemm);

/// Adds a product to what its `sum` holds, or writes it, with the bias, to the rows [fresh, fresh_end), which hold
/// nothing yet; rows and the range in multiples of 32. The tiles load and store the sums where they lie. For one tap,
/// one row of pixels (`columns`, the rows meant here) and whole panels of channels; columns are a multiple of 32 and
/// both operands readable up to there; `residual` is not read.
void multiply_onto(const Gemm& gemm, int64_t fresh, int64_t fresh_end);

/// Number of elements that a packed weight takes.
inline int64_t packed_size(int64_t outputs, int64_t inputs, int64_t taps) {
  return blocks(outputs, kPanel) * taps * blocks(inputs, kDepth) * 2 * kTile;
}
/// Packs weight[o, t, i] (i contiguous, t at `tap`, o at `output` elements) for a product over i, with taps in the
/// given order.
void pack_forward(const float* weight, int64_t outputs, int64_t inputs, int64_t taps, int64_t output, int64_t tap,
                  uint16_t* packed);
/// Packs the same weight for a product over o that gives i (the gradient of the input); `order` [taps] picks the
/// weight's taps.
void pack_backward(const float* weight, int64_t outputs, int64_t inputs, int64_t taps, const int64_t* order,
                   int64_t output, int64_t tap, uint16_t* packed);

/// gradient[t][o][i] += sum over steps of a[o] b[t][i]: the weight's gradient.
struct Gradient {
  const uint16_t* a = nullptr;  // [outputs / 16][steps][tile]: transposed, from pack_transposed
  int64_t a_block = 0;          // elements between blocks of 16 outputs
  const uint16_t* b = nullptr;  // pairs of pixels, from pack_pairs
  int64_t b_block = 0;          // elements between blocks of 16 inputs
  int64_t taps = 1;
  const int64_t* tap_offset = nullptr;  // [taps] elements into `b`
  int64_t steps = 0;                    // pixels / 32
  int64_t outputs = 0, inputs = 0;      // padded to multiples of 32
  float* gradient = nullptr;            // [taps][outputs][inputs] float32
};
void accumulate(const Gradient& gradient);

/// The pixels of an image as the gradient reads them: flattened with `ld` pixels a row; what lies outside [0,
/// columns) of a row, or past the last row, counts as zero.
struct Pixels {
  const uint16_t* data = nullptr;
  int64_t rows = 0, columns = 0, channels = 0;
  int64_t row_step = 0, pixel_step = 0;  // elements
  int64_t ld = 0;                        // flattened pixels a row, at least columns
};
/// Tiles of 16 channels by 32 flattened pixels: [channels padded to 32 / 16][steps][tile]. sums [channels], if not
/// null, is added to.
void pack_transposed(const Pixels& pixels, int64_t steps, uint16_t* packed, float* sums);
/// Pairs of flattened pixels (first, first + 1), (first + 2, ...): [channels padded to 32 / 16][pairs][16][2].
void pack_pairs(const Pixels& pixels, int64_t first, int64_t pairs, uint16_t* packed);

/// Packs a [rows, outputs] and b [rows, inputs] for the sum over rows of a times b. Out: the job, but for
/// where its result goes. packed_a, packed_b: 32 * blocks(rows, 32) elements for each output (input), their
/// number padded to 32. a_sums [outputs], if not null, is added to.
Gradient pack_rows(const uint16_t* a, int64_t outputs, const uint16_t* b, int64_t inputs, int64_t rows,
                   uint16_t* packed_a, uint16_t* packed_b, float* a_sums);

/// Copies an image [rows, columns, channels] into the middle of zeros [height, width, padded], whose top-left inner
/// pixel is `inner`.
void pad_image(const uint16_t* image, int64_t rows, int64_t columns, int64_t channels, int64_t top, int64_t left,
               int64_t height, int64_t width, int64_t padded, uint16_t* result);

}  // namespace tessera::bf16
