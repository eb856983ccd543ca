#include "codec/layers.h"

#include <cmath>

#include "kernels/ops/weight_loading.h"

namespace tessera {
namespace {

/// PyTorch's default for convolutions and dense layers: uniform in +-1/sqrt(fan_in), weights and biases alike.
torch::Tensor uniform_parameter(at::IntArrayRef shape, std::int64_t fan_in) {
  if (UnsetParameters::active()) return torch::empty(shape);
  const double bound = 1.0 / std::sqrt(static_cast<double>(fan_in));
  return torch::empty(shape).uniform_(-bound, bound);
}

}  // namespace

ConvolutionImpl::ConvolutionImpl(CodecComputePtr compute, std::int64_t in, std::int64_t out, std::int64_t kernel,
                                 std::int64_t stride, Padding padding)
    : compute_(std::move(compute)), stride_(stride), padding_(padding) {
  weight = register_parameter("weight", uniform_parameter({out, in, kernel, kernel}, in * kernel * kernel));
  bias = register_parameter("bias", uniform_parameter({out}, in * kernel * kernel));
}

torch::Tensor ConvolutionImpl::forward(const torch::Tensor& x) {
  return conv2d(x, weight, bias, stride_, padding_, compute_->precision, &packed_);
}

GroupNormImpl::GroupNormImpl(std::int64_t channels, std::int64_t groups) : groups_(groups) {
  weight = register_parameter("weight", torch::ones({channels}));
  bias = register_parameter("bias", torch::zeros({channels}));
}

torch::Tensor GroupNormImpl::forward(const torch::Tensor& x, bool swish) {
  return group_norm_swish(x, weight, bias, groups_, 1e-6, swish);
}

ResidualBlockImpl::ResidualBlockImpl(const CodecComputePtr& compute, std::int64_t in, std::int64_t out) {
  norm1_ = register_module("norm1", GroupNorm(in, compute->norm_groups));
  conv1_ = register_module("conv1", Convolution(compute, in, out, 3, 1, Padding::all(1)));
  norm2_ = register_module("norm2", GroupNorm(out, compute->norm_groups));
  conv2_ = register_module("conv2", Convolution(compute, out, out, 3, 1, Padding::all(1)));
  if (in != out) shortcut_ = register_module("conv_shortcut", Convolution(compute, in, out, 1));
}

torch::Tensor ResidualBlockImpl::forward(const torch::Tensor& x) {
  auto y = conv1_->forward(norm1_->forward(x, true));
  y = conv2_->forward(norm2_->forward(y, true));
  return shortcut_ ? shortcut_->forward(x) + y : x + y;
}

ProjectionImpl::ProjectionImpl(CodecComputePtr compute, std::int64_t channels) : compute_(std::move(compute)) {
  weight = register_parameter("weight", uniform_parameter({channels, channels}, channels));
  bias = register_parameter("bias", uniform_parameter({channels}, channels));
}

torch::Tensor ProjectionImpl::forward(const torch::Tensor& x) {
  return linear(x, weight, bias, compute_->precision, &packed_);
}

AttentionBlockImpl::AttentionBlockImpl(const CodecComputePtr& compute, std::int64_t channels)
    : compute_(compute), channels_(channels) {
  norm_ = register_module("group_norm", GroupNorm(channels, compute->norm_groups));
  query_ = register_module("to_q", Projection(compute, channels));
  key_ = register_module("to_k", Projection(compute, channels));
  value_ = register_module("to_v", Projection(compute, channels));
  torch::nn::ModuleList out;
  output_ = Projection(compute, channels);
  out->push_back(output_);
  register_module("to_out", out);
}

torch::Tensor AttentionBlockImpl::forward(const torch::Tensor& x) {
  const auto rows = norm_->forward(x, false).permute({0, 2, 3, 1}).flatten(1, 2);  // [N, HW, C]
  const double scale = 1 / std::sqrt(static_cast<double>(channels_));
  const auto context = attention(query_->forward(rows), key_->forward(rows), value_->forward(rows), 1, scale, false,
                                 compute_->precision);
  const auto mixed = output_->forward(context);  // [N, HW, C]
  return x + mixed.view({x.size(0), x.size(2), x.size(3), channels_}).permute({0, 3, 1, 2});
}

DownsampleImpl::DownsampleImpl(const CodecComputePtr& compute, std::int64_t channels) {
  conv_ = register_module("conv", Convolution(compute, channels, channels, 3, 2, Padding{0, 0, 1, 1}));
}

torch::Tensor DownsampleImpl::forward(const torch::Tensor& x) {
  return conv_->forward(x);
}

UpsampleImpl::UpsampleImpl(const CodecComputePtr& compute, std::int64_t channels) {
  conv_ = register_module("conv", Convolution(compute, channels, channels, 3, 1, Padding::all(1)));
}

torch::Tensor UpsampleImpl::forward(const torch::Tensor& x) {
  return conv_->forward(torch::upsample_nearest2d(x, {x.size(2) * 2, x.size(3) * 2}));
}

MiddleBlockImpl::MiddleBlockImpl(const CodecComputePtr& compute, std::int64_t channels, bool attention) {
  residual_->push_back(ResidualBlock(compute, channels, channels));
  residual_->push_back(ResidualBlock(compute, channels, channels));
  register_module("resnets", residual_);
  if (!attention) return;
  attention_->push_back(AttentionBlock(compute, channels));
  register_module("attentions", attention_);
}

torch::Tensor MiddleBlockImpl::forward(const torch::Tensor& x) {
  auto y = residual_->at<ResidualBlockImpl>(0).forward(x);
  if (!attention_->is_empty()) y = attention_->at<AttentionBlockImpl>(0).forward(y);
  return residual_->at<ResidualBlockImpl>(1).forward(y);
}

LevelImpl::LevelImpl(const CodecComputePtr& compute, std::int64_t in, std::int64_t out, std::int64_t blocks,
                     bool attention, Resample resample)
    : resample_(resample) {
  for (std::int64_t block = 0; block < blocks; ++block) {
    residual_->push_back(ResidualBlock(compute, block == 0 ? in : out, out));
    if (attention) attention_->push_back(AttentionBlock(compute, out));
  }
  register_module("resnets", residual_);
  if (attention) register_module("attentions", attention_);
  if (resample == Resample::down) {
    resampler_->push_back(Downsample(compute, out));
    register_module("downsamplers", resampler_);
  } else if (resample == Resample::up) {
    resampler_->push_back(Upsample(compute, out));
    register_module("upsamplers", resampler_);
  }
}

torch::Tensor LevelImpl::forward(torch::Tensor x) {
  for (std::size_t block = 0; block < residual_->size(); ++block) {
    x = residual_->at<ResidualBlockImpl>(block).forward(x);
    if (!attention_->is_empty()) x = attention_->at<AttentionBlockImpl>(block).forward(x);
  }
  if (resample_ == Resample::down) return resampler_->at<DownsampleImpl>(0).forward(x);
  if (resample_ == Resample::up) return resampler_->at<UpsampleImpl>(0).forward(x);
  return x;
}

}  // namespace tessera
