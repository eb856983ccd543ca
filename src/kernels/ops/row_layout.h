/// How rows of bfloat16 lie between the operations of an inference.
#pragma once

#include <ATen/EmptyTensor.h>
#include <torch/torch.h>

#include <cstdint>

#include "kernels/cpu/leading_dimension.h"

namespace tessera {

/// Whether somebody may ask for a gradient of what is computed from these tensors.
template <typename... Tensors>
bool asks_gradient(const Tensors&... tensors) {
  return torch::GradMode::is_enabled() && ((tensors.defined() && tensors.requires_grad()) || ...);
}

// One evaluation of a denoiser calls some two hundred operations of a few dozen microseconds each. LibTorch takes one
// or two for every tensor, view and conversion, even where there is nothing to convert, while the other threads wait:
// what follows asks it for none that is not needed.

/// Uninitialised [rows, features] on the CPU, its rows `ld` elements apart.
inline torch::Tensor fresh_rows(std::int64_t rows, std::int64_t features, std::int64_t ld, torch::ScalarType type) {
  const std::int64_t shape[] = {rows, ld}, sizes[] = {rows, features}, strides[] = {ld, 1};
  torch::Tensor made(at::detail::empty_cpu(shape, torch::TensorOptions(type)));
  if (ld != features) made.unsafeGetTensorImpl()->set_sizes_and_strides(sizes, strides);
  return made;
}
inline torch::Tensor fresh_rows(std::int64_t rows, std::int64_t features, torch::ScalarType type) {
  return fresh_rows(rows, features, features, type);
}

/// Uninitialised [rows, features] bfloat16, its rows as far apart as suits who writes and who reads them in columns.
inline torch::Tensor rows_for_gemm(std::int64_t rows, std::int64_t features) {
  return fresh_rows(rows, features, elements_apart<std::uint16_t>(features), torch::kBFloat16);
}

/// tensor.to(type)
inline torch::Tensor in_type(const torch::Tensor& tensor, torch::ScalarType type) {
  return tensor.scalar_type() == type ? tensor : tensor.to(type);
}

/// [..., K] as [rows, K]
inline torch::Tensor as_matrix(const torch::Tensor& tensor) {
  return tensor.dim() == 2 ? tensor : tensor.reshape({-1, tensor.size(-1)});
}

/// [rows, M] as [..., M], the leading dimensions those of `like`
inline torch::Tensor shaped_like(const torch::Tensor& matrix, const torch::Tensor& like) {
  if (like.dim() == 2) return matrix;
  auto shape = like.sizes().vec();
  shape.back() = matrix.size(1);
  return matrix.view(shape);
}

/// [..., K] bfloat16 as [rows, K] whose rows may lie apart where nobody asks for a gradient.
inline torch::Tensor readable_rows(const torch::Tensor& input) {
  const torch::Tensor rows = as_matrix(input);
  const bool apart = rows.stride(1) == 1 && rows.stride(0) > rows.size(1);
  return apart && !torch::GradMode::is_enabled() ? rows : rows.contiguous();
}

}  // namespace tessera
