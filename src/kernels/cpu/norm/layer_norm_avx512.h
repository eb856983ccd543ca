/// AVX-512 loops over rows of features: norms, GELU and gated activations; the operations are in ops/layers.h and
/// rms_norm.h. Pointers only, no LibTorch: compiled for a newer processor than the rest. Call only where
/// cpu_has_avx512_bf16(). bfloat16 values are their bits in uint16_t.
#pragma once

#include <cstdint>

namespace tessera::avx512 {

/// output [rows, features] = (input - mean) * rstd * weight + bias, its rows `output_row` elements apart; moments
/// [rows, 2], if not null, receives mean and rstd of each row.
/// (Input, Output): (float, float), (float, uint16_t) or (uint16_t, uint16_t).
template <typename Input, typename Output>
void layer_norm_forward(const Input* input, int64_t rows, int64_t features, double eps, const float* weight,
                        const float* bias, Output* output, int64_t output_row, float* moments);

/// sum [rows, features] = first + second (null: nothing is added), and output = layer_norm_forward of it (null: none).
/// sum may be first. Rows of each lie as many elements apart as its _row says.
struct SumOfRows {
  const float* first = nullptr;
  const float* second = nullptr;
  float* sum = nullptr;
  int64_t first_row = 0, second_row = 0, sum_row = 0;
  int64_t rows = 0, features = 0;
};
void layer_norm_of_sum(const SumOfRows& sum, double eps, const float* weight, const float* bias, uint16_t* output,
                       int64_t output_row);

/// output [rows, features] = input / sqrt(mean(input^2) + eps) * gain + shift (null: 1, 0). Rows lie as many elements
/// apart as `input_row` and `output_row` say; output may be input.
/// (Input, Output): (float, float), (float, uint16_t) or (uint16_t, uint16_t).
template <typename Input, typename Output>
void rms_norm_forward(const Input* input, int64_t input_row, int64_t rows, int64_t features, double eps,
                      const float* gain, const float* shift, Output* output, int64_t output_row);

/// residual [rows, features] += gate [features] * added [rows, features]; output = rms_norm_forward of the sum.
template <typename Output>
void rms_norm_of_gated_sum(float* residual, const float* gate, const float* added, int64_t rows, int64_t features,
                           double eps, const float* gain, const float* shift, Output* output, int64_t output_row);

/// output = activation(gate) * factor, where the activation is x sigmoid(x) or x Phi(x), rows as far apart as said;
/// errors of 2e-4 before rounding.
enum class GateActivation { silu, gelu };
void gated_rows(GateActivation activation, const uint16_t* gate, int64_t gate_row, const uint16_t* factor,
                int64_t factor_row, int64_t rows, int64_t features, uint16_t* output, int64_t output_row);

/// gradient_input [rows, features] is written; gradient_weight, gradient_bias [features] are added to.
template <typename Input, typename Output>
void layer_norm_backward(const Input* input, const Output* gradient_output, int64_t rows, int64_t features,
                         const float* weight, const float* moments, Input* gradient_input, float* gradient_weight,
                         float* gradient_bias);

/// output = x Phi(x), elementwise; error below 2e-4 |x| Phi(-|x|) before rounding.
void gelu_forward(const uint16_t* input, int64_t count, uint16_t* output);
/// gradient_input = gradient_output * (Phi(x) + x phi(x)).
void gelu_backward(const uint16_t* input, const uint16_t* gradient_output, int64_t count, uint16_t* gradient_input);

}  // namespace tessera::avx512
