/// How networks take the weights of a file without a copy of them.
#pragma once

#include <torch/torch.h>

#include "kernels/ops/packed_weight.h"

namespace tessera {

enum class WeightLoading {
  copy,  // into parameters of their own: for training, and wherever the tensors are used elsewhere too
  // For inference with tensors of a mapped file. On the CPU contiguous float32 tensors become the parameters, so that
  // nothing is read before it is used, and what has been packed is given back. Nobody may write to them then.
  share,
  share_halves,  // and float16 tensors of layers that pack their weights, which must not compute in float32
};

/// Makes `parameter` hold the values of `given`, of the same shape and any floating type. packed: the layer's packed
/// form of it, null where it keeps none.
void load_parameter(torch::Tensor parameter, const torch::Tensor& given, WeightLoading loading, PackedWeight* packed);

/// While one lives, networks built by this thread have parameters without values, for weights that are loaded next.
class UnsetParameters {
 public:
  UnsetParameters();
  ~UnsetParameters();
  UnsetParameters(const UnsetParameters&) = delete;
  UnsetParameters& operator=(const UnsetParameters&) = delete;
  static bool active();
};

/// Zeros, or without values under UnsetParameters.
torch::Tensor parameter_of_zeros(at::IntArrayRef shape);

}  // namespace tessera
