/// conv2d and linear for training: LibTorch's operations, in bfloat16 on channels-last operands.
#include "kernels/training_ops.h"

#include <fmt/ostream.h>

#include "runtime/error.h"

namespace tessera {

torch::Tensor conv2d(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias, int64_t stride,
                     const Padding& padding, Precision precision) {
  require(input.dim() == 4 && weight.dim() == 4 && input.size(1) == weight.size(1),
          "conv2d: input {} and weight {} do not fit: expected [N, Ci, H, W] and [Co, Ci, kh, kw]",
          fmt::streamed(input.sizes()), fmt::streamed(weight.sizes()));
  const bool even = padding.top == padding.bottom && padding.left == padding.right;
  const auto dtype = precision == Precision::bfloat16 ? torch::kBFloat16 : weight.scalar_type();
  torch::Tensor x = input.to(dtype);
  if (!even) x = torch::constant_pad_nd(x, {padding.left, padding.right, padding.top, padding.bottom}, 0);
  const std::vector<int64_t> pads = {even ? padding.top : 0, even ? padding.left : 0};
  torch::Tensor w = weight.to(dtype);
  if (precision == Precision::bfloat16) {
    x = x.contiguous(torch::MemoryFormat::ChannelsLast);
    w = w.contiguous(torch::MemoryFormat::ChannelsLast);
  }
  return torch::conv2d(x, w, bias.defined() ? bias.to(dtype) : bias, stride, pads);
}

torch::Tensor conv2d(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias, int64_t stride,
                     int64_t padding, Precision precision) {
  return conv2d(input, weight, bias, stride, Padding::all(padding), precision);
}

torch::Tensor linear(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias,
                     Precision precision) {
  require(weight.dim() == 2 && input.dim() >= 1 && input.size(-1) == weight.size(1),
          "linear: input's last size is {}, weight is {}: expected [..., K] and [M, K]", input.size(-1),
          fmt::streamed(weight.sizes()));
  const auto dtype = precision == Precision::bfloat16 ? torch::kBFloat16 : weight.scalar_type();
  return torch::linear(input.to(dtype), weight.to(dtype), bias.defined() ? bias.to(dtype) : bias);
}

}  // namespace tessera
