/// Operations of the networks' layers in the form that trains fastest on a CPU, for autograd: float32 master weights,
/// activations in bfloat16 and channels-last.
///
/// What a trainer should do (docs/decisions/training-kernels.md has the figures):
///  - keep parameters float32; pass them as they are, the operations round them to bfloat16 inside and return float32
///  gradients;
///  - hold activations of a convolutional network in bfloat16, torch::MemoryFormat::ChannelsLast from the first
///  convolution to the
///    last; every operation here keeps that layout, so nothing is reordered between them. Residual sums are plain `a +
///    b`;
///  - compute losses, the quantiser and softmax cross-entropy in float32 (`.to(torch::kFloat)` after the last layer).
///  - give each layer a PackedWeight and pass it as `prepacked`: inference then packs the weight once, not at every
///  call.
/// Precision::float32 computes the plain LibTorch operation. All operations give first-order gradients, for any subset
/// of their inputs, as often as the graph is kept (autograd::grad with retain_graph). Second derivatives: not
/// supported (some float32 forms have them, group_norm_swish in channels-last and layer_norm do not).
/// On a GPU all are LibTorch's operations, with the weights kept in the products' type; what is said to be fused is one
/// operation there where LibTorch has it, and linear_add and linear_unrounded round their product to that type
/// first. Precision::float16 is as bfloat16 in all that follows, on GPUs.
#pragma once

#include <torch/torch.h>

#include "kernels/ops/packed_weight.h"

namespace tessera {

enum class Precision {
  float32,   // the reference: LibTorch's operation on float32
  bfloat16,  // operands rounded to bfloat16, sums in float32, result in bfloat16
  float16,   // the same with float16, on GPUs
  int8,      // the linear operations in int8 (cpu/gemm/int8_gemm.h says how), the others as bfloat16; no gradients
};

/// The precision of what is between the products: bfloat16 for int8, else the same.
inline Precision of_activations(Precision precision) {
  return precision == Precision::int8 ? Precision::bfloat16 : precision;
}

/// Its type; `wide`: of Precision::float32.
inline torch::ScalarType type_of_activations(Precision precision, torch::ScalarType wide) {
  if (precision == Precision::float32) return wide;
  return precision == Precision::float16 ? torch::kFloat16 : torch::kBFloat16;
}

/// The type of a residual stream: `wide`, so that its sums are not rounded; float16 in Precision::float16, whose
/// eleven bits lose a thirtieth of what rounding the products to bfloat16 does, at half the traffic.
inline torch::ScalarType type_of_residuals(Precision precision, torch::ScalarType wide) {
  return precision == Precision::float16 ? torch::kFloat16 : wide;
}

/// Zeros added around an image before a convolution, in pixels.
struct Padding {
  int64_t top = 0, left = 0, bottom = 0, right = 0;
  static Padding all(int64_t pixels) { return {pixels, pixels, pixels, pixels}; }
};

/// Two-dimensional cross-correlation, as at::conv2d without dilation and groups.
/// In: input [N, Ci, H, W] float32 or bfloat16, any layout (channels-last is fast); weight [Co, Ci, kh, kw] float32;
/// bias [Co] float32 or undefined. Out: [N, Co, H', W'], in Precision::bfloat16 bfloat16 and channels-last. The
/// gradient of each input has that input's dtype.
torch::Tensor conv2d(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias, int64_t stride,
                     const Padding& padding, Precision precision, PackedWeight* prepacked = nullptr);
torch::Tensor conv2d(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias, int64_t stride,
                     int64_t padding, Precision precision, PackedWeight* prepacked = nullptr);

/// Group normalisation (arXiv:1803.08494), followed by swish x * sigmoid(x) where `swish` is set; one fused pass each
/// way. In: input [N, C, H, W] or [N, C, L] float32 or bfloat16; weight, bias [C] float32. Out: input's shape, dtype
/// and layout. Moments and gradients of weight and bias are float32 whatever the dtype.
torch::Tensor group_norm_swish(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias,
                               int64_t groups, double eps, bool swish);

/// input [..., K] times weight [M, K] transposed, plus bias [M] (or undefined). In Precision::bfloat16 the result is
/// bfloat16; its rows may lie apart where nobody asks for a gradient.
torch::Tensor linear(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias,
                     Precision precision, PackedWeight* prepacked = nullptr);

/// gelu_activation(linear(...)), fused: with AVX-512 the product is not rounded on its way into GELU.
torch::Tensor linear_gelu(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias,
                          Precision precision, PackedWeight* prepacked = nullptr);
/// residual [..., M] + linear(...), fused. In Precision::bfloat16 with a float32 residual the sum is float32 and the
/// product is not rounded on its way into it: a residual stream in float32 costs little more than one in bfloat16.
torch::Tensor linear_add(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias,
                         const torch::Tensor& residual, Precision precision, PackedWeight* prepacked = nullptr);
/// linear_add for a residual that nobody reads again: the sum may lie where it did, and then touches half the memory.
torch::Tensor linear_add_onto(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias,
                              const torch::Tensor& residual, Precision precision, PackedWeight* prepacked = nullptr);
/// linear(...) whose result is not rounded: float32 in either precision (float64 for float64 operands).
torch::Tensor linear_unrounded(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias,
                               Precision precision, PackedWeight* prepacked = nullptr);

/// Layer normalisation over the last dimension (arXiv:1607.06450). In: input [..., C] float32 or bfloat16; weight, bias
/// [C] float32, or [N, C] for input [N, ..., C]: each entry with its own (norms that a time or a class sets). Out:
/// input's shape and dtype, or bfloat16 where `precision` says so (the form that the next product
/// reads); moments and gradients of weight and bias are float32.
torch::Tensor layer_norm(const torch::Tensor& input, const torch::Tensor& weight, const torch::Tensor& bias, double eps,
                         Precision precision = Precision::float32, PackedWeight* prepacked = nullptr);

/// x Phi(x), with the normal distribution function itself, not its tanh approximation (arXiv:1606.08415). Any shape;
/// input's dtype.
torch::Tensor gelu_activation(const torch::Tensor& input);

/// softmax(scale q k^T) v in each head (arXiv:1706.03762). In: q [N, queries, C], k and v [N, keys, C], head h in the
/// features h C / heads ..; rows may be slices of a wider tensor. Out: [N, queries, C]. causal: query i sees the keys 0
/// .. i + keys - queries. In Precision::bfloat16 the result is bfloat16, softmax is float32, and the queries x keys
/// matrix is never kept.
torch::Tensor attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v, int64_t heads,
                        double scale, bool causal, Precision precision);
/// The same for q, k and v side by side in one tensor [N, L, 3 C], as one product gives them; its gradient is one
/// tensor, too.
torch::Tensor attention_qkv(const torch::Tensor& qkv, int64_t heads, double scale, bool causal, Precision precision);

}  // namespace tessera
