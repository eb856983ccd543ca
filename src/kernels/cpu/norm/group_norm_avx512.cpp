#include "kernels/cpu/norm/group_norm_avx512.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <algorithm>
#include <cmath>

// Only what follows is compiled for AVX-512; headers above keep the plain target, so that no shared inline function
// changes.
#pragma GCC push_options
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // false alarm inside GCC 12's own intrinsics
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,fma")
#include "kernels/cpu/vector_avx512.h"

namespace tessera::avx512 {
namespace {

constexpr int64_t kRun = 128;  // pixels summed in float32 before the sum moves on into float64

/// Adds up per-channel first and second moments about the image's first pixel, Width * 16 channels from `channel`.
template <int Width, typename Element>
void moments(const GroupNormImage& image, const Element* input, int64_t first, int64_t last, int64_t channel,
             double* sum, double* square) {
  __mmask16 mask[Width];
  __m512 s[Width];
  for (int v = 0; v < Width; ++v) {
    mask[v] = tail_mask(image.channels - channel - 16 * v);
    s[v] = load16(input + channel + 16 * v, mask[v]);
  }
  alignas(64) float buffer[16];
  for (int64_t begin = first; begin < last; begin += kRun) {
    const int64_t end = std::min(begin + kRun, last);
    __m512 a[Width], b[Width];
    for (int v = 0; v < Width; ++v) a[v] = b[v] = _mm512_setzero_ps();
    for (int64_t p = begin; p < end; ++p) {
      for (int v = 0; v < Width; ++v) {
        const __m512 x = _mm512_sub_ps(load16(input + p * image.channels + channel + 16 * v, mask[v]), s[v]);
        a[v] = _mm512_add_ps(a[v], x);
        b[v] = _mm512_fmadd_ps(x, x, b[v]);
      }
    }
    for (int v = 0; v < Width; ++v) {
      const int64_t count = std::min<int64_t>(16, image.channels - channel - 16 * v);
      _mm512_store_ps(buffer, a[v]);
      for (int64_t c = 0; c < count; ++c) sum[channel + 16 * v + c] += double(buffer[c]);
      _mm512_store_ps(buffer, b[v]);
      for (int64_t c = 0; c < count; ++c) square[channel + 16 * v + c] += double(buffer[c]);
    }
  }
}

/// As exact as what it is rounded to.
template <typename Element>
__m512 sigmoid_of(__m512 x) {
  return sizeof(Element) == sizeof(uint16_t) ? short_sigmoid16(x) : sigmoid16(x);
}

template <int Width, bool Swish, typename Element>
void apply(const GroupNormImage& image, const Element* input, Element* output, int64_t first, int64_t last,
           int64_t channel, const float* scale, const float* offset) {
  __mmask16 mask[Width];
  __m512 a[Width], b[Width];
  for (int v = 0; v < Width; ++v) {
    mask[v] = tail_mask(image.channels - channel - 16 * v);
    a[v] = load16(scale + channel + 16 * v, mask[v]);
    b[v] = load16(offset + channel + 16 * v, mask[v]);
  }
  for (int64_t p = first; p < last; ++p) {
    for (int v = 0; v < Width; ++v) {
      const int64_t at = p * image.channels + channel + 16 * v;
      __m512 y = _mm512_fmadd_ps(load16(input + at, mask[v]), a[v], b[v]);
      if constexpr (Swish) y = _mm512_mul_ps(y, sigmoid_of<Element>(y));
      store16(output + at, mask[v], y);
    }
  }
}

/// dz, the gradient before swish, into `inner` [pixels, C]; its sums and its sums with (x - mean) * rstd per channel.
template <int Width, bool Swish, typename Element>
void inner_gradient(const GroupNormImage& image, const Element* input, const Element* gradient, float* inner,
                    int64_t channel, const float* mean, const float* rstd, float* sum, float* product) {
  __mmask16 mask[Width];
  __m512 m[Width], r[Width], w[Width], b[Width];
  for (int v = 0; v < Width; ++v) {
    const int64_t at = channel + 16 * v;
    mask[v] = tail_mask(image.channels - at);
    m[v] = load16(mean + at, mask[v]);
    r[v] = load16(rstd + at, mask[v]);
    w[v] = load16(image.weight + at, mask[v]);
    b[v] = load16(image.bias + at, mask[v]);
  }
  const __m512 one = _mm512_set1_ps(1.f);
  __m512 total[Width], total_product[Width];
  for (int v = 0; v < Width; ++v) total[v] = total_product[v] = _mm512_setzero_ps();
  for (int64_t begin = 0; begin < image.pixels; begin += kRun) {
    const int64_t end = std::min(begin + kRun, image.pixels);
    __m512 part[Width], part_product[Width];
    for (int v = 0; v < Width; ++v) part[v] = part_product[v] = _mm512_setzero_ps();
    for (int64_t p = begin; p < end; ++p) {
      for (int v = 0; v < Width; ++v) {
        const int64_t at = p * image.channels + channel + 16 * v;
        const __m512 x = _mm512_mul_ps(_mm512_sub_ps(load16(input + at, mask[v]), m[v]), r[v]);
        __m512 dz = load16(gradient + at, mask[v]);
        if constexpr (Swish) {
          const __m512 z = _mm512_fmadd_ps(x, w[v], b[v]);
          const __m512 s = sigmoid_of<Element>(z);
          // d(z s)/dz = s + z s (1 - s)
          dz = _mm512_mul_ps(dz, _mm512_mul_ps(s, _mm512_fmadd_ps(z, _mm512_sub_ps(one, s), one)));
        }
        _mm512_mask_storeu_ps(inner + at, mask[v], dz);
        part[v] = _mm512_add_ps(part[v], dz);
        part_product[v] = _mm512_fmadd_ps(dz, x, part_product[v]);
      }
    }
    for (int v = 0; v < Width; ++v) {
      total[v] = _mm512_add_ps(total[v], part[v]);
      total_product[v] = _mm512_add_ps(total_product[v], part_product[v]);
    }
  }
  for (int v = 0; v < Width; ++v) {
    _mm512_mask_storeu_ps(sum + channel + 16 * v, mask[v], total[v]);
    _mm512_mask_storeu_ps(product + channel + 16 * v, mask[v], total_product[v]);
  }
}

/// gradient_input = a * inner + b * input + c, per channel.
template <int Width, typename Element>
void combine(const GroupNormImage& image, const Element* input, const float* inner, Element* gradient_input,
             int64_t channel, const float* a, const float* b, const float* c) {
  __mmask16 mask[Width];
  __m512 va[Width], vb[Width], vc[Width];
  for (int v = 0; v < Width; ++v) {
    const int64_t at = channel + 16 * v;
    mask[v] = tail_mask(image.channels - at);
    va[v] = load16(a + at, mask[v]);
    vb[v] = load16(b + at, mask[v]);
    vc[v] = load16(c + at, mask[v]);
  }
  for (int64_t p = 0; p < image.pixels; ++p) {
    for (int v = 0; v < Width; ++v) {
      const int64_t at = p * image.channels + channel + 16 * v;
      const __m512 x = load16(input + at, mask[v]);
      store16(gradient_input + at, mask[v],
              _mm512_fmadd_ps(load16(inner + at, mask[v]), va[v], _mm512_fmadd_ps(x, vb[v], vc[v])));
    }
  }
}

/// Calls run(width, channel) over the channels in pieces of 64, 32 and at last 16 or fewer.
template <typename Run>
void over_channels(int64_t channels, const Run& run) {
  int64_t c = 0;
  for (; c + 48 < channels; c += 64) run.template operator()<4>(c);
  for (; c + 16 < channels; c += 32) run.template operator()<2>(c);
  for (; c < channels; c += 16) run.template operator()<1>(c);
}

}  // namespace

template <typename Element>
void group_norm_moments(const GroupNormImage& image, const Element* input, int64_t first, int64_t last, double* sums) {
  over_channels(image.channels, [&]<int Width>(int64_t c) {
    moments<Width>(image, input, first, last, c, sums, sums + image.channels);
  });
}

template <typename Element>
void group_norm_factors(const GroupNormImage& image, const Element* input, double* sums, float* mean, float* rstd,
                        float* factors) {
  const int64_t channels = image.channels, each = channels / image.groups;
  double *const channel_mean = sums, *const channel_variance = sums + channels;  // in the place of the sums
  float *const scale = factors, *const offset = factors + channels;
  for (int64_t c = 0; c < channels; c += 16) {
    const __mmask16 mask = tail_mask(channels - c);
    alignas(64) float shift[16];
    _mm512_store_ps(shift, load16(input + c, mask));
    for (int64_t k = c; k < std::min(c + 16, channels); ++k) {
      const double m = sums[k] / double(image.pixels);
      channel_variance[k] = std::max(0., channel_variance[k] / double(image.pixels) - m * m);
      channel_mean[k] = double(shift[k - c]) + m;
    }
  }
  // Channels are joined to groups: var = E[v_c + (m_c - m)^2].
  for (int64_t g = 0; g < image.groups; ++g) {
    double m = 0, variance = 0;
    for (int64_t k = g * each; k < (g + 1) * each; ++k) m += channel_mean[k];
    m /= double(each);
    for (int64_t k = g * each; k < (g + 1) * each; ++k)
      variance += channel_variance[k] + (channel_mean[k] - m) * (channel_mean[k] - m);
    variance /= double(each);
    const double r = 1. / std::sqrt(variance + image.eps);
    mean[g] = float(m);
    rstd[g] = float(r);
    for (int64_t k = g * each; k < (g + 1) * each; ++k) {
      scale[k] = float(double(image.weight[k]) * r);
      offset[k] = float(double(image.bias[k]) - m * double(image.weight[k]) * r);
    }
  }
}

template <typename Element>
void group_norm_apply(const GroupNormImage& image, const Element* input, Element* output, int64_t first, int64_t last,
                      const float* factors) {
  over_channels(image.channels, [&]<int Width>(int64_t c) {
    if (image.swish) {
      apply<Width, true>(image, input, output, first, last, c, factors, factors + image.channels);
    } else {
      apply<Width, false>(image, input, output, first, last, c, factors, factors + image.channels);
    }
  });
}

template <typename Element>
void group_norm_backward(const GroupNormImage& image, const Element* input, const Element* gradient_output,
                         const float* mean, const float* rstd, Element* gradient_input, float* gradient_weight,
                         float* gradient_bias, float* scratch) {
  const int64_t channels = image.channels, each = channels / image.groups;
  float *wide_mean = scratch, *wide_rstd = scratch + channels, *sum = scratch + 2 * channels,
        *product = scratch + 3 * channels;
  float *a = scratch + 4 * channels, *b = scratch + 5 * channels, *c0 = scratch + 6 * channels,
        *inner = scratch + 8 * channels;
  for (int64_t k = 0; k < channels; ++k) {
    wide_mean[k] = mean[k / each];
    wide_rstd[k] = rstd[k / each];
  }
  over_channels(channels, [&]<int Width>(int64_t c) {
    if (image.swish) {
      inner_gradient<Width, true>(image, input, gradient_output, inner, c, wide_mean, wide_rstd, sum, product);
    } else {
      inner_gradient<Width, false>(image, input, gradient_output, inner, c, wide_mean, wide_rstd, sum, product);
    }
  });
  const double count = double(image.pixels * each);
  for (int64_t g = 0; g < image.groups; ++g) {
    double whole = 0, whole_product = 0;
    for (int64_t k = g * each; k < (g + 1) * each; ++k) {
      whole += double(image.weight[k]) * double(sum[k]);
      whole_product += double(image.weight[k]) * double(product[k]);
      gradient_weight[k] += product[k];
      gradient_bias[k] += sum[k];
    }
    // dx = r (w dz - mean(w dz) - x^ mean(w dz x^)), x^ = (x - m) r
    const double r = double(rstd[g]), m = double(mean[g]);
    const double slope = -r * r * whole_product / count;
    for (int64_t k = g * each; k < (g + 1) * each; ++k) {
      a[k] = float(r * double(image.weight[k]));
      b[k] = float(slope);
      c0[k] = float(-r * whole / count - slope * m);
    }
  }
  over_channels(channels,
                [&]<int Width>(int64_t c) { combine<Width>(image, input, inner, gradient_input, c, a, b, c0); });
}

template void group_norm_moments<float>(const GroupNormImage&, const float*, int64_t, int64_t, double*);
template void group_norm_moments<uint16_t>(const GroupNormImage&, const uint16_t*, int64_t, int64_t, double*);
template void group_norm_factors<float>(const GroupNormImage&, const float*, double*, float*, float*, float*);
template void group_norm_factors<uint16_t>(const GroupNormImage&, const uint16_t*, double*, float*, float*, float*);
template void group_norm_apply<float>(const GroupNormImage&, const float*, float*, int64_t, int64_t, const float*);
template void group_norm_apply<uint16_t>(const GroupNormImage&, const uint16_t*, uint16_t*, int64_t, int64_t,
                                         const float*);
template void group_norm_backward<float>(const GroupNormImage&, const float*, const float*, const float*, const float*,
                                         float*, float*, float*, float*);
template void group_norm_backward<uint16_t>(const GroupNormImage&, const uint16_t*, const uint16_t*, const float*,
                                            const float*, uint16_t*, float*, float*, float*);

}  // namespace tessera::avx512

#pragma GCC pop_options

#endif
