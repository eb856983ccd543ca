/// What LibTorch's operations read of a layer.
#pragma once

#include <torch/torch.h>

#include "kernels/ops/layers.h"
#include "kernels/ops/packed_weight.h"
#include "kernels/ops/row_layout.h"

namespace tessera {

/// The floating types of two bytes, whose sums are kept in wider ones.
inline bool is_low(torch::ScalarType type) {
  return type == torch::kBFloat16 || type == torch::kFloat16;
}

inline torch::Tensor maybe_to(const torch::Tensor& tensor, torch::ScalarType dtype) {
  return tensor.defined() ? tensor.to(dtype) : tensor;
}

/// The float32 value nearest in bfloat16; the gradient passes as it is.
struct RoundOperand : public torch::autograd::Function<RoundOperand> {
  static torch::Tensor forward(torch::autograd::AutogradContext*, const torch::Tensor& x) {
    return x.to(torch::kBFloat16).to(torch::kFloat);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext*,
                                                 const torch::autograd::variable_list& gradients) {
    return {gradients[0]};
  }
};

/// Whether an operation that no kernel of ours does is computed in float32 from rounded operands: bfloat16 on a CPU
/// without instructions for it. LibTorch's own bfloat16 operations there are no faster, and they round every partial
/// result.
inline bool emulates(const torch::Tensor& input, Precision precision) {
  return precision == Precision::bfloat16 && input.is_cpu();
}

inline torch::Tensor rounded_operand(const torch::Tensor& x) {
  return x.scalar_type() == torch::kBFloat16 ? x.to(torch::kFloat) : RoundOperand::apply(x);
}

/// A layer's weight and bias in the type of its operation; on a GPU kept where nobody asks for their gradients.
struct LayerOperands {
  LayerOperands(const torch::Tensor& given_weight, const torch::Tensor& given_bias, torch::ScalarType type,
                PackedWeight* prepacked) {
    const auto convert = [&] {
      const auto converted = given_weight.to(type);
      return is_low(type) && converted.dim() == 4 ? converted.contiguous(torch::MemoryFormat::ChannelsLast) : converted;
    };
    const bool keeps = prepacked && given_weight.is_cuda() && given_weight.scalar_type() != type &&
                       !asks_gradient(given_weight, given_bias);
    if (!keeps) {
      weight = convert();
      bias = maybe_to(given_bias, type);
      return;
    }
    const PackedForm form{PackedForm::For::library, static_cast<int>(type)};
    weight = prepacked->get(given_weight, convert, form);
    if (given_bias.defined())
      bias = prepacked->get_bias(
          given_bias, [&] { return given_bias.to(type); }, form);
  }
  torch::Tensor weight, bias;
};

}  // namespace tessera
