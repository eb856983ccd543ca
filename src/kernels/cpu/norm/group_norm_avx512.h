/// AVX-512 loops of group normalisation with swish over channels-last images; the operation is group_norm_swish in
/// ops/layers.h. Pointers only, no LibTorch: this is compiled for a newer processor than the rest. Call only where
/// cpu_has_avx512_bf16().
#pragma once

#include <cstdint>

namespace tessera::avx512 {

/// One image of group normalisation. `Element` data are float or the bits of bfloat16 (uint16_t).
struct GroupNormImage {
  int64_t pixels = 0;             // H * W
  int64_t channels = 0;           // C
  int64_t groups = 0;             // divides C
  double eps = 0;                 // added to the variance
  bool swish = false;             // whether swish follows
  const float* weight = nullptr;  // [C]
  const float* bias = nullptr;    // [C]
};

/// Adds the pixels [first, last) of input [pixels, C] to sums [2, C]: their first and second moments about the image's
/// first pixel.
template <typename Element>
void group_norm_moments(const GroupNormImage& image, const Element* input, int64_t first, int64_t last, double* sums);

/// In: sums [2, C] of all pixels (they are overwritten). Out: mean, rstd [groups]; factors [2, C], what a pixel is
/// multiplied by and what is added then.
template <typename Element>
void group_norm_factors(const GroupNormImage& image, const Element* input, double* sums, float* mean, float* rstd,
                        float* factors);

/// output [pixels, C], the pixels [first, last) of it.
template <typename Element>
void group_norm_apply(const GroupNormImage& image, const Element* input, Element* output, int64_t first, int64_t last,
                      const float* factors);

/// gradient_input [pixels, C] is written; gradient_weight, gradient_bias [C] are added to.
/// scratch: (pixels + 8) * C floats.
template <typename Element>
void group_norm_backward(const GroupNormImage& image, const Element* input, const Element* gradient_output,
                         const float* mean, const float* rstd, Element* gradient_input, float* gradient_weight,
                         float* gradient_bias, float* scratch);

}  // namespace tessera::avx512
