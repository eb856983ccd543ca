#include "kernels/cpu/norm/layer_norm_avx512.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <cmath>

#pragma GCC push_options
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // false alarm inside GCC 12's own intrinsics
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,fma")
#include "kernels/cpu/vector_avx512.h"

namespace tessera::avx512 {
namespace {

/// term(sum, feature, mask) applied to all features, in four chains: one alone would wait for each addition.
template <typename Term>
float sum_over(int64_t features, const Term& term) {
  __m512 a = _mm512_setzero_ps(), b = a, c = a, d = a;
  int64_t i = 0;
  for (; i + 64 <= features; i += 64) {
    a = term(a, i, __mmask16(0xffff));
    b = term(b, i + 16, __mmask16(0xffff));
    c = term(c, i + 32, __mmask16(0xffff));
    d = term(d, i + 48, __mmask16(0xffff));
  }
  for (; i < features; i += 16) a = term(a, i, tail_mask(features - i));
  return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(a, b), _mm512_add_ps(c, d)));
}

struct Moments {
  float mean, rstd;
};

/// Of a row whose features add up to `total`.
template <typename Input>
Moments moments_of(const Input* input, int64_t features, float total, double eps) {
  const float mean = total / float(features);
  const __m512 m = _mm512_set1_ps(mean);
  const float square = sum_over(features, [&](__m512 sum, int64_t c, __mmask16 mask) {
    const __m512 x = _mm512_maskz_sub_ps(mask, load16(input + c, mask), m);
    return _mm512_fmadd_ps(x, x, sum);
  });
  return {mean, float(1. / std::sqrt(double(square) / double(features) + eps))};
}

template <typename Input, typename Output>
void normalise(const Input* input, int64_t features, const Moments& moments, const float* weight, const float* bias,
               Output* output) {
  const __m512 m = _mm512_set1_ps(moments.mean), s = _mm512_set1_ps(moments.rstd);
  for (int64_t c = 0; c < features; c += 16) {
    const __mmask16 mask = tail_mask(features - c);
    const __m512 x = _mm512_mul_ps(_mm512_sub_ps(load16(input + c, mask), m), s);
    store16(output + c, mask, _mm512_fmadd_ps(x, load16(weight + c, mask), load16(bias + c, mask)));
  }
}

/// Writes a row of which the squares add up to `square`.
template <typename Input, typename Output>
void scale_to_unit(const Input* input, int64_t features, float square, double eps, const float* gain,
                   const float* shift, Output* output) {
  const __m512 unit = _mm512_set1_ps(float(1. / std::sqrt(double(square) / double(features) + eps)));
  for (int64_t c = 0; c < features; c += 16) {
    const __mmask16 mask = tail_mask(features - c);
    __m512 x = _mm512_mul_ps(load16(input + c, mask), unit);
    if (gain != nullptr && shift != nullptr) {
      x = _mm512_fmadd_ps(x, load16(gain + c, mask), load16(shift + c, mask));
    } else if (gain != nullptr) {
      x = _mm512_mul_ps(x, load16(gain + c, mask));
    } else if (shift != nullptr) {
      x = _mm512_add_ps(x, load16(shift + c, mask));
    }
    store16(output + c, mask, x);
  }
}

}  // namespace

template <typename Input, typename Output>
void rms_norm_forward(const Input* input, int64_t input_row, int64_t rows, int64_t features, double eps,
                      const float* gain, const float* shift, Output* output, int64_t output_row) {
  for (int64_t r = 0; r < rows; ++r, input += input_row, output += output_row) {
    const float square = sum_over(features, [&](__m512 sum, int64_t c, __mmask16 mask) {
      const __m512 x = load16(input + c, mask);
      return _mm512_fmadd_ps(x, x, sum);
    });
    scale_to_unit(input, features, square, eps, gain, shift, output);
  }
}

template <typename Output>
void rms_norm_of_gated_sum(float* residual, const float* gate, const float* added, int64_t rows, int64_t features,
                           double eps, const float* gain, const float* shift, Output* output, int64_t output_row) {
  for (int64_t r = 0; r < rows; ++r, residual += features, added += features, output += output_row) {
    const float square = sum_over(features, [&](__m512 sum, int64_t c, __mmask16 mask) {
      const __m512 x = _mm512_fmadd_ps(load16(gate + c, mask), load16(added + c, mask), load16(residual + c, mask));
      store16(residual + c, mask, x);
      return _mm512_fmadd_ps(x, x, sum);
    });
    scale_to_unit(residual, features, square, eps, gain, shift, output);
  }
}

void gated_rows(GateActivation activation, const uint16_t* gate, int64_t gate_row, const uint16_t* factor,
                int64_t factor_row, int64_t rows, int64_t features, uint16_t* output, int64_t output_row) {
  const auto over = [&](const auto& activate) {
    for (int64_t r = 0; r < rows; ++r, gate += gate_row, factor += factor_row, output += output_row) {
      for (int64_t c = 0; c < features; c += 16) {
        const __mmask16 mask = tail_mask(features - c);
        store16(output + c, mask, _mm512_mul_ps(activate(load16(gate + c, mask)), load16(factor + c, mask)));
      }
    }
  };
  if (activation == GateActivation::gelu) {
    over([&](__m512 x) { return gelu16(x); });
  } else {
    over([&](__m512 x) { return _mm512_mul_ps(x, short_sigmoid16(x)); });
  }
}

void layer_norm_of_sum(const SumOfRows& given, double eps, const float* weight, const float* bias, uint16_t* output,
                       int64_t output_row) {
  constexpr int64_t kAhead = 3;  // rows; they may lie with another core
  for (int64_t r = 0; r < given.rows; ++r) {
    const float* const first = given.first + r * given.first_row;
    const float* const second = given.second != nullptr ? given.second + r * given.second_row : nullptr;
    float* const sum = given.sum + r * given.sum_row;
    const auto fetch = [](const float* at) { _mm_prefetch(reinterpret_cast<const char*>(at), _MM_HINT_T0); };
    const float total = sum_over(given.features, [&](__m512 all, int64_t c, __mmask16 mask) {
      __m512 x = load16(first + c, mask);
      fetch(first + kAhead * given.first_row + c);
      if (second != nullptr) {
        x = _mm512_add_ps(x, load16(second + c, mask));
        fetch(second + kAhead * given.second_row + c);
      }
      store16(sum + c, mask, x);
      return _mm512_add_ps(all, x);
    });
    if (output == nullptr) continue;
    normalise(sum, given.features, moments_of(sum, given.features, total, eps), weight, bias, output + r * output_row);
  }
}

template <typename Input, typename Output>
void layer_norm_forward(const Input* input, int64_t rows, int64_t features, double eps, const float* weight,
                        const float* bias, Output* output, int64_t output_row, float* moments) {
  for (int64_t r = 0; r < rows; ++r, input += features, output += output_row) {
    // Rows to come may lie with another core. An address behind the last one does no harm.
    const Input* const coming = input + 2 * features;
    const float total = sum_over(features, [&](__m512 sum, int64_t c, __mmask16 mask) {
      _mm_prefetch(reinterpret_cast<const char*>(coming + c), _MM_HINT_T0);
      return _mm512_add_ps(sum, load16(input + c, mask));
    });
    const Moments found = moments_of(input, features, total, eps);
    normalise(input, features, found, weight, bias, output);
    if (moments == nullptr) continue;
    moments[2 * r] = found.mean;
    moments[2 * r + 1] = found.rstd;
  }
}

template <typename Input, typename Output>
void layer_norm_backward(const Input* input, const Output* gradient_output, int64_t rows, int64_t features,
                         const float* weight, const float* moments, Input* gradient_input, float* gradient_weight,
                         float* gradient_bias) {
  for (int64_t r = 0; r < rows;
       ++r, input += features, gradient_output += features, gradient_input += features, moments += 2) {
    const __m512 m = _mm512_set1_ps(moments[0]), s = _mm512_set1_ps(moments[1]);
    __m512 total = _mm512_setzero_ps(), product = _mm512_setzero_ps();
    for (int64_t c = 0; c < features; c += 16) {
      const __mmask16 mask = tail_mask(features - c);
      const __m512 x = _mm512_mul_ps(_mm512_sub_ps(load16(input + c, mask), m), s);
      const __m512 g = load16(gradient_output + c, mask), wg = _mm512_mul_ps(g, load16(weight + c, mask));
      store16(gradient_weight + c, mask, _mm512_fmadd_ps(g, x, load16(gradient_weight + c, mask)));
      store16(gradient_bias + c, mask, _mm512_add_ps(g, load16(gradient_bias + c, mask)));
      total = _mm512_add_ps(total, wg);
      product = _mm512_fmadd_ps(wg, x, product);
    }
    // dx = s (w g - mean(w g) - x^ mean(w g x^))
    const __m512 a = _mm512_set1_ps(_mm512_reduce_add_ps(total) / float(features));
    const __m512 b = _mm512_set1_ps(_mm512_reduce_add_ps(product) / float(features));
    for (int64_t c = 0; c < features; c += 16) {
      const __mmask16 mask = tail_mask(features - c);
      const __m512 x = _mm512_mul_ps(_mm512_sub_ps(load16(input + c, mask), m), s);
      const __m512 wg = _mm512_mul_ps(load16(gradient_output + c, mask), load16(weight + c, mask));
      store16(gradient_input + c, mask, _mm512_mul_ps(s, _mm512_fnmadd_ps(x, b, _mm512_sub_ps(wg, a))));
    }
  }
}

#define TESSERA_INSTANTIATE(Input, Output)                                                                            \
  template void layer_norm_forward<Input, Output>(const Input*, int64_t, int64_t, double, const float*, const float*, \
                                                  Output*, int64_t, float*);                                          \
  template void layer_norm_backward<Input, Output>(const Input*, const Output*, int64_t, int64_t, const float*,       \
                                                   const float*, Input*, float*, float*);
TESSERA_INSTANTIATE(float, float)
TESSERA_INSTANTIATE(float, uint16_t)
TESSERA_INSTANTIATE(uint16_t, uint16_t)
#undef TESSERA_INSTANTIATE

#define TESSERA_INSTANTIATE(Input, Output)                                                                     \
  template void rms_norm_forward<Input, Output>(const Input*, int64_t, int64_t, int64_t, double, const float*, \
                                                const float*, Output*, int64_t);
TESSERA_INSTANTIATE(float, float)
TESSERA_INSTANTIATE(float, uint16_t)
TESSERA_INSTANTIATE(uint16_t, uint16_t)
#undef TESSERA_INSTANTIATE
template void rms_norm_of_gated_sum<float>(float*, const float*, const float*, int64_t, int64_t, double, const float*,
                                           const float*, float*, int64_t);
template void rms_norm_of_gated_sum<uint16_t>(float*, const float*, const float*, int64_t, int64_t, double,
                                              const float*, const float*, uint16_t*, int64_t);

void gelu_forward(const uint16_t* input, int64_t count, uint16_t* output) {
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 mask = tail_mask(count - i);
    const __m512 x = load16(input + i, mask);
    store16(output + i, mask, gelu16(x));
  }
}

void gelu_backward(const uint16_t* input, const uint16_t* gradient_output, int64_t count, uint16_t* gradient_input) {
  for (int64_t i = 0; i < count; i += 16) {
    const __mmask16 mask = tail_mask(count - i);
    const __m512 slope = gelu_slope16(load16(input + i, mask));
    store16(gradient_input + i, mask, _mm512_mul_ps(load16(gradient_output + i, mask), slope));
  }
}

}  // namespace tessera::avx512

#pragma GCC pop_options

#endif
