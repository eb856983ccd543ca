/// The blocks that encoder and decoder are built from. Source: "Taming Transformers" (arXiv:2012.09841) as adapted by
/// "Unleashing Transformers" (arXiv:2111.12701). Activations are [N, C, H, W]; names of parameters are the hub's.
#pragma once

#include <torch/torch.h>

#include <memory>

#include "kernels/ops/layers.h"

namespace tessera {

/// How the layers of one codec compute; shared by all of them, so that one assignment changes the whole network.
struct CodecCompute {
  Precision precision = Precision::float32;
  std::int64_t norm_groups = 32;
};
using CodecComputePtr = std::shared_ptr<CodecCompute>;

/// Convolution with PyTorch's default initialisation. In [N, in, H, W], out [N, out, H', W'].
class ConvolutionImpl : public torch::nn::Module {
 public:
  ConvolutionImpl(CodecComputePtr compute, std::int64_t in, std::int64_t out, std::int64_t kernel,
                  std::int64_t stride = 1, Padding padding = {});
  torch::Tensor forward(const torch::Tensor& x);

  PackedWeight* packed() { return &packed_; }

  torch::Tensor weight;  // [out, in, kernel, kernel]
  torch::Tensor bias;    // [out]

 private:
  CodecComputePtr compute_;
  std::int64_t stride_;
  Padding padding_;
  PackedWeight packed_;
};
TORCH_MODULE(Convolution);

/// GroupNorm with eps 1e-6, optionally followed by swish, x * sigmoid(x).
class GroupNormImpl : public torch::nn::Module {
 public:
  GroupNormImpl(std::int64_t channels, std::int64_t groups);
  torch::Tensor forward(const torch::Tensor& x, bool swish);

  torch::Tensor weight;  // [C]
  torch::Tensor bias;    // [C]

 private:
  std::int64_t groups_;
};
TORCH_MODULE(GroupNorm);

/// x + conv2(swish(norm2(conv1(swish(norm1(x)))))), with a 1x1 shortcut where the widths differ.
class ResidualBlockImpl : public torch::nn::Module {
 public:
  ResidualBlockImpl(const CodecComputePtr& compute, std::int64_t in, std::int64_t out);
  torch::Tensor forward(const torch::Tensor& x);

 private:
  GroupNorm norm1_{nullptr}, norm2_{nullptr};
  Convolution conv1_{nullptr}, conv2_{nullptr}, shortcut_{nullptr};
};
TORCH_MODULE(ResidualBlock);

/// Dense layer over the last dimension, used by attention.
class ProjectionImpl : public torch::nn::Module {
 public:
  ProjectionImpl(CodecComputePtr compute, std::int64_t channels);
  torch::Tensor forward(const torch::Tensor& x);  // [..., C] -> [..., C]

  PackedWeight* packed() { return &packed_; }

  torch::Tensor weight;  // [C, C]
  torch::Tensor bias;    // [C]

 private:
  CodecComputePtr compute_;
  PackedWeight packed_;
};
TORCH_MODULE(Projection);

/// Single-head self-attention over all H*W positions, scale C^-0.5, added to its un-normalised input.
class AttentionBlockImpl : public torch::nn::Module {
 public:
  AttentionBlockImpl(const CodecComputePtr& compute, std::int64_t channels);
  torch::Tensor forward(const torch::Tensor& x);

 private:
  CodecComputePtr compute_;
  std::int64_t channels_;
  GroupNorm norm_{nullptr};
  Projection query_{nullptr}, key_{nullptr}, value_{nullptr}, output_{nullptr};
};
TORCH_MODULE(AttentionBlock);

/// Zero-pads one column on the right and one row at the bottom, then a 3x3 convolution of stride 2.
class DownsampleImpl : public torch::nn::Module {
 public:
  DownsampleImpl(const CodecComputePtr& compute, std::int64_t channels);
  torch::Tensor forward(const torch::Tensor& x);

 private:
  Convolution conv_{nullptr};
};
TORCH_MODULE(Downsample);

/// Nearest-neighbour doubling, then a 3x3 convolution.
class UpsampleImpl : public torch::nn::Module {
 public:
  UpsampleImpl(const CodecComputePtr& compute, std::int64_t channels);
  torch::Tensor forward(const torch::Tensor& x);

 private:
  Convolution conv_{nullptr};
};
TORCH_MODULE(Upsample);

/// Residual block, attention where asked, residual block, at the coarsest resolution.
class MiddleBlockImpl : public torch::nn::Module {
 public:
  MiddleBlockImpl(const CodecComputePtr& compute, std::int64_t channels, bool attention);
  torch::Tensor forward(const torch::Tensor& x);

 private:
  torch::nn::ModuleList residual_, attention_;
};
TORCH_MODULE(MiddleBlock);

/// One level of the encoder or the decoder: residual blocks, each followed by attention where asked, then resampling.
class LevelImpl : public torch::nn::Module {
 public:
  enum class Resample { none, down, up };
  LevelImpl(const CodecComputePtr& compute, std::int64_t in, std::int64_t out, std::int64_t blocks, bool attention,
            Resample resample);
  torch::Tensor forward(torch::Tensor x);

 private:
  Resample resample_;
  torch::nn::ModuleList residual_, attention_, resampler_;
};
TORCH_MODULE(Level);

}  // namespace tessera
