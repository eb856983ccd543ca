/// How rows of bfloat16 lie between the operations of an inference.
#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "kernels/row_pitch.h"

namespace tessera {

/// Whether somebody may ask for a gradient of what is computed from these tensors.
template <typename... Tensors>
bool asks_gradient(const Tensors&... tensors) {
  return torch::GradMode::is_enabled() && ((tensors.defined() && tensors.requires_grad()) || ...);
}

/// Uninitialised [rows, features] bfloat16 that a product is to read.
inline torch::Tensor rows_for_product(std::int64_t rows, std::int64_t features) {
  constexpr std::int64_t kBytes = 2;  // of an element
  return torch::empty({rows, row_pitch(features * kBytes) / kBytes}, torch::kBFloat16).narrow(1, 0, features);
}

/// [..., K] bfloat16 as [rows, K] whose rows may lie apart where nobody asks for a gradient.
inline torch::Tensor readable_rows(const torch::Tensor& input) {
  const torch::Tensor rows = input.reshape({-1, input.size(-1)});
  const bool apart = rows.stride(1) == 1 && rows.stride(0) > rows.size(1);
  return apart && !torch::GradMode::is_enabled() ? rows : rows.contiguous();
}

}  // namespace tessera
