/// The layers that the transformers are made of. Every product of activations with weights goes through Linear, so that
/// a packed low-precision product for inference has one place to live.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "checkpoint/named_module.h"
#include "kernels/ops/layers.h"

namespace tessera {

/// Cells of an evaluation up to which it is recorded on a GPU (kernels/ops/cuda_graph.h): a recording keeps its memory,
/// and a larger one computes for longer than its launches take.
inline constexpr std::int64_t kMostRecordedCells = 8192;

/// Zeros; without values under UnsetParameters, without memory under ShapesOnly.
torch::Tensor new_parameter(at::IntArrayRef shape);

/// y = x W^T + b, with the pointwise operations that follow it in a transformer as one call each (a packed product
/// fuses them). x: [..., in], y: [..., out]. Parameters stay float32; in Precision::bfloat16 forward and forward_gelu
/// return bfloat16.
class LinearImpl : public torch::nn::Module {
 public:
  LinearImpl(std::int64_t in, std::int64_t out, bool with_bias = true);

  torch::Tensor forward(const torch::Tensor& x) { return linear(x, weight, bias, precision, &packed_); }
  /// gelu(forward(x)), the exact (erf) form.
  torch::Tensor forward_gelu(const torch::Tensor& x) { return linear_gelu(x, weight, bias, precision, &packed_); }
  /// residual + forward(x), in the residual's dtype, for a residual that nobody reads again: the sum may lie where it
  /// did.
  torch::Tensor forward_add_onto(const torch::Tensor& x, const torch::Tensor& residual) {
    return linear_add_onto(x, weight, bias, residual, precision, &packed_);
  }

  /// residual + forward(x), in the residual's dtype.
  torch::Tensor forward_add(const torch::Tensor& x, const torch::Tensor& residual) {
    return linear_add(x, weight, bias, residual, precision, &packed_);
  }

  /// forward(x), not rounded: float32 (float64 for float64).
  torch::Tensor forward_unrounded(const torch::Tensor& x) {
    return linear_unrounded(x, weight, bias, precision, &packed_);
  }

  PackedWeight* packed() { return &packed_; }

  Precision precision = Precision::float32;
  torch::Tensor weight;  // [out, in]
  torch::Tensor bias;    // [out], undefined without bias

 private:
  PackedWeight packed_;
};
TORCH_MODULE(Linear);

/// A Linear of a network whose layers have the names that they have in files: "a.b" becomes the submodule `b` of `a`.
Linear add_linear(NamedModule& network, const std::string& name, std::int64_t in, std::int64_t out);
/// The precision of every Linear and LayerNorm in a network.
void set_layers_precision(torch::nn::Module& network, Precision precision);
/// The packed forms of a network's products by their weights, for load_parameter.
std::map<const c10::TensorImpl*, PackedWeight*> packed_by_weight(torch::nn::Module& network);

/// (x - mean) / sqrt(variance + 1e-5) * weight + bias over the last dimension.
class LayerNormImpl : public torch::nn::Module {
 public:
  explicit LayerNormImpl(std::int64_t width);
  static constexpr double kEpsilon = 1e-5;
  torch::Tensor forward(const torch::Tensor& x) { return layer_norm(x, weight, bias, kEpsilon, precision, &packed_); }

  Precision precision = Precision::float32;  // of the result
  torch::Tensor weight;                      // [C]
  torch::Tensor bias;                        // [C]

 private:
  PackedWeight packed_;
};
TORCH_MODULE(LayerNorm);

/// Scaled dot-product attention. In: q [N, H, A, D], k and v [N, H, B, D]. Out: [N, A, H * D].
/// causal: query i sees the keys 0..i + (B - A). dropout: probability for the attention weights, drawn from
/// `generator`.
torch::Tensor attend(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v, bool causal,
                     double dropout = 0, const std::optional<torch::Generator>& generator = std::nullopt);

/// Zeroes elements with probability p and scales the others by 1 / (1 - p). p = 0 returns x itself.
torch::Tensor drop_out(const torch::Tensor& x, double p, const std::optional<torch::Generator>& generator);

}  // namespace tessera
