/// conv2d and linear for training: checks, and the choice between the bfloat16 kernels and LibTorch's operations.
#include "kernels/ops/layers.h"

#include <fmt/ostream.h>

#include <algorithm>

#include "kernels/ops/bf16_layers.h"
#include "kernels/ops/float_linear.h"
#include "kernels/ops/int8_linear.h"
#include "kernels/ops/isa.h"
#include "kernels/ops/operands.h"
#include "kernels/ops/row_layout.h"
#include "runtime/error.h"

namespace tessera {
namespace {

/// Rounds to `type` and lays out channels-last; autograd turns the gradient back.
torch::Tensor prepared(const torch::Tensor& input, torch::ScalarType type = torch::kBFloat16) {
  const torch::Tensor x = input.to(type);
  return x.dim() == 4 ? x.contiguous(torch::MemoryFormat::ChannelsLast) : x.contiguous();
}

bool tiles_apply(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias,
                 Precision precision) {
  return precision == Precision::bfloat16 && cpu_has_avx512_bf16() && input.is_cpu() && input.numel() > 0 &&
         weight.numel() > 0 && (weight.scalar_type() == torch::kFloat || weight.scalar_type() == torch::kHalf) &&
         (!bias.defined() || bias.scalar_type() == torch::kFloat);
}

/// Weights may be stored as float16; nothing is computed in it.
torch::ScalarType computing_type(const torch::Tensor& weight) {
  return weight.scalar_type() == torch::kHalf ? torch::kFloat : weight.scalar_type();
}

}  // namespace

torch::Tensor conv2d(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias, int64_t stride,
                     const Padding& padding, Precision given, PackedWeight* prepacked) {
  const auto precision = of_activations(given);
  require(input.dim() == 4 && weight.dim() == 4 && input.size(1) == weight.size(1),
          "conv2d: input {} and weight {} do not fit: expected [N, Ci, H, W] and [Co, Ci, kh, kw]",
          fmt::streamed(input.sizes()), fmt::streamed(weight.sizes()));
  require(stride >= 1 && padding.top >= 0 && padding.left >= 0 && padding.bottom >= 0 && padding.right >= 0,
          "conv2d: stride is {}, padding {} {} {} {}: expected stride at least 1, padding at least 0", stride,
          padding.top, padding.left, padding.bottom, padding.right);
  const int64_t height = input.size(2) + padding.top + padding.bottom,
                width = input.size(3) + padding.left + padding.right;
  require(height >= weight.size(2) && width >= weight.size(3),
          "conv2d: padded image is {} x {}, smaller than the kernel {} x {}", height, width, weight.size(2),
          weight.size(3));
  require(!bias.defined() || (bias.dim() == 1 && bias.size(0) == weight.size(0)),
          "conv2d: bias has {} elements, expected {}", bias.defined() ? bias.numel() : 0, weight.size(0));
  if (tiles_apply(input, weight, bias, precision)) {
    return tiles::conv2d(prepared(input), weight, bias, stride, padding, prepacked);
  }

  if (emulates(input, precision)) {
    const auto x = rounded_operand(input).contiguous(torch::MemoryFormat::ChannelsLast);
    const auto w = rounded_operand(weight).contiguous(torch::MemoryFormat::ChannelsLast);
    return conv2d(x, w, maybe_to(bias, torch::kFloat), stride, padding, Precision::float32)
        .to(torch::kBFloat16)
        .contiguous(torch::MemoryFormat::ChannelsLast);
  }
  const bool even = padding.top == padding.bottom && padding.left == padding.right;
  const auto dtype = type_of_activations(precision, computing_type(weight));
  const LayerOperands layer(weight, bias, dtype, prepacked);
  torch::Tensor x = precision == Precision::float32 ? input.to(dtype) : prepared(input, dtype);
  if (!even) x = torch::constant_pad_nd(x, {padding.left, padding.right, padding.top, padding.bottom}, 0);
  const std::vector<int64_t> pads = {even ? padding.top : 0, even ? padding.left : 0};
  return torch::conv2d(x, layer.weight, layer.bias, stride, pads);
}

torch::Tensor conv2d(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias, int64_t stride,
                     int64_t padding, Precision precision, PackedWeight* prepacked) {
  return conv2d(input, weight, bias, stride, Padding::all(padding), precision, prepacked);
}

namespace {

void check_linear(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias) {
  require(weight.dim() == 2 && input.dim() >= 1 && input.size(-1) == weight.size(1),
          "linear: input {} and weight {} do not fit: expected [..., K] and [M, K]", fmt::streamed(input.sizes()),
          fmt::streamed(weight.sizes()));
  require(!bias.defined() || (bias.dim() == 1 && bias.size(0) == weight.size(0)),
          "linear: bias has {} elements, expected {}", bias.defined() ? bias.numel() : 0, weight.size(0));
}

/// [..., K] as [rows, K] bfloat16.
torch::Tensor as_rows(const torch::Tensor& input) {
  return readable_rows(in_type(input, torch::kBFloat16));
}

std::vector<int64_t> output_shape(const torch::Tensor& input, const torch::Tensor& weight) {
  std::vector<int64_t> shape = input.sizes().vec();
  shape.back() = weight.size(0);
  return shape;
}

void check_residual(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& residual) {
  const bool fits = residual.dim() == input.dim() && residual.size(-1) == weight.size(0) &&
                    residual.sizes().slice(0, residual.dim() - 1) == input.sizes().slice(0, input.dim() - 1);
  require(fits, "linear_add: residual is {}, expected {}", fmt::streamed(residual.sizes()),
          fmt::streamed(at::IntArrayRef(output_shape(input, weight))));
}

bool float_add_applies(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias,
                       const torch::Tensor& residual, Precision precision, const PackedWeight* prepacked) {
  return precision == Precision::float32 && residual.scalar_type() == torch::kFloat && !asks_gradient(residual) &&
         packed_float_linear_applies(input, weight, bias, prepacked);
}

}  // namespace

torch::Tensor linear(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias,
                     Precision precision, PackedWeight* prepacked) {
  check_linear(input, weight, bias);
  if (precision == Precision::int8) {
    return shaped_like(int8_linear(input, weight, bias, Int8Result::rounded, {}, prepacked), input);
  }
  if (tiles_apply(input, weight, bias, precision)) {
    return shaped_like(tiles::linear(as_rows(input), weight, bias, prepacked), input);
  }
  if (emulates(input, precision)) return linear_unrounded(input, weight, bias, precision).to(torch::kBFloat16);
  if (precision == Precision::float32 && packed_float_linear_applies(input, weight, bias, prepacked)) {
    return shaped_like(packed_float_linear(input, weight, bias, {}, prepacked), input);
  }
  if (precision == Precision::float32 && float_linear_applies(input, weight, bias)) {
    return float_linear(input, weight, bias);
  }
  const auto dtype = type_of_activations(precision, computing_type(weight));
  const LayerOperands layer(weight, bias, dtype, prepacked);
  return torch::linear(input.to(dtype), layer.weight, layer.bias);
}

torch::Tensor linear_gelu(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias,
                          Precision precision, PackedWeight* prepacked) {
  check_linear(input, weight, bias);
  if (precision == Precision::int8) {
    return shaped_like(int8_linear(input, weight, bias, Int8Result::gelu, {}, prepacked), input);
  }
  if (tiles_apply(input, weight, bias, precision)) {
    return shaped_like(tiles::linear_gelu(as_rows(input), weight, bias, prepacked), input);
  }
  if (precision == Precision::float32 && packed_float_linear_applies(input, weight, bias, prepacked)) {
    return shaped_like(
        packed_float_linear(input, weight, bias, {.gelu = true, .residual = {}, .onto = false}, prepacked), input);
  }
  return gelu_activation(linear(input, weight, bias, precision, prepacked));
}

torch::Tensor linear_add(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias,
                         const torch::Tensor& residual, Precision precision, PackedWeight* prepacked) {
  check_linear(input, weight, bias);
  check_residual(input, weight, residual);
  if (precision == Precision::int8) {
    const auto added = as_matrix(in_type(residual, torch::kFloat)).contiguous();
    return in_type(shaped_like(int8_linear(input, weight, bias, Int8Result::sum, added, prepacked), input),
                   residual.scalar_type());
  }
  if (tiles_apply(input, weight, bias, precision) && residual.scalar_type() == torch::kFloat) {
    return shaped_like(tiles::linear_add(as_rows(input), weight, bias, as_matrix(residual), prepacked), input);
  }
  if (float_add_applies(input, weight, bias, residual, precision, prepacked)) {
    const auto added = as_matrix(residual).contiguous();
    return shaped_like(
        packed_float_linear(input, weight, bias, {.gelu = false, .residual = added, .onto = false}, prepacked), input);
  }
  if (residual.scalar_type() == torch::kFloat && residual.is_cpu()) {
    return residual + linear_unrounded(input, weight, bias, precision);
  }
  return residual + linear(input, weight, bias, precision, prepacked);
}

torch::Tensor linear_add_onto(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias,
                              const torch::Tensor& residual, Precision precision, PackedWeight* prepacked) {
  const bool floats = float_add_applies(input, weight, bias, residual, precision, prepacked);
  const bool fuses = floats || precision == Precision::int8 || tiles_apply(input, weight, bias, precision);
  if (!fuses || torch::GradMode::is_enabled() || residual.scalar_type() != torch::kFloat || !residual.is_contiguous()) {
    return linear_add(input, weight, bias, residual, precision, prepacked);
  }
  check_linear(input, weight, bias);
  check_residual(input, weight, residual);
  const auto rows = as_matrix(residual);
  if (floats) {
    return shaped_like(
        packed_float_linear(input, weight, bias, {.gelu = false, .residual = rows, .onto = true}, prepacked), input);
  }
  const auto sum = precision == Precision::int8 ? int8_linear(input, weight, bias, Int8Result::onto, rows, prepacked)
                                                : tiles::linear_add_onto(as_rows(input), weight, bias, rows, prepacked);
  return shaped_like(sum, input);
}

torch::Tensor linear_unrounded(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias,
                               Precision precision, PackedWeight* prepacked) {
  check_linear(input, weight, bias);
  if (precision == Precision::int8) {
    return shaped_like(int8_linear(input, weight, bias, Int8Result::sum, {}, prepacked), input);
  }
  if (tiles_apply(input, weight, bias, precision)) {
    return shaped_like(tiles::linear_add(as_rows(input), weight, bias, {}, prepacked), input);
  }
  if (emulates(input, precision)) {
    return linear(rounded_operand(input), rounded_operand(weight), maybe_to(bias, torch::kFloat), Precision::float32);
  }
  const auto result = linear(input, weight, bias, precision, prepacked);
  return precision == Precision::float32 ? result : result.to(torch::kFloat);
}

}  // namespace tessera
