/// What LibTorch's operations read of a layer.
#pragma once

#include <torch/torch.h>

#include "kernels/packed_weight.h"
#include "kernels/row_layout.h"

namespace tessera {

/// The floating types of two bytes, whose sums are kept in wider ones.
inline bool is_low(torch::ScalarType type) {
  return type == torch::kBFloat16 || type == torch::kFloat16;
}

inline torch::Tensor maybe_to(const torch::Tensor& tensor, torch::ScalarType dtype) {
  return tensor.defined() ? tensor.to(dtype) : tensor;
}

/// A layer's weight and bias in the type of its operation; on a GPU kept where nobody asks for their gradients.
struct LayerOperands {
  LayerOperands(const torch::Tensor& given_weight, const torch::Tensor& given_bias, torch::ScalarType type,
                PackedWeight* kept) {
    const auto convert = [&] {
      const auto converted = given_weight.to(type);
      return is_low(type) && converted.dim() == 4 ? converted.contiguous(torch::MemoryFormat::ChannelsLast) : converted;
    };
    const bool keeps = kept && given_weight.is_cuda() && given_weight.scalar_type() != type &&
                       !asks_gradient(given_weight, given_bias);
    if (!keeps) {
      weight = convert();
      bias = maybe_to(given_bias, type);
      return;
    }
    const int form = kConverted + static_cast<int>(type);
    weight = kept->get(given_weight, convert, form);
    if (given_bias.defined())
      bias = kept->get_bias(
          given_bias, [&] { return given_bias.to(type); }, form);
  }
  static constexpr int kConverted = 100;
  torch::Tensor weight, bias;
};

}  // namespace tessera
