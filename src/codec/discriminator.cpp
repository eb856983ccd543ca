#include "codec/discriminator.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "runtime/error.h"

namespace tessera {
namespace {

/// A 4x4 convolution with padding 1, with or without bias; float32 out. Parameters are named as torch::nn::Conv2d's.
class PatchConvolution : public torch::nn::Module {
 public:
  PatchConvolution(CodecComputePtr compute, std::int64_t in, std::int64_t out, std::int64_t stride, bool bias)
      : compute_(std::move(compute)), stride_(stride) {
    const double bound = 1.0 / std::sqrt(static_cast<double>(in * 16));
    weight_ = register_parameter("weight", torch::empty({out, in, 4, 4}).normal_(0.0, 0.02));  // DCGAN's, as released
    if (bias) bias_ = register_parameter("bias", torch::empty({out}).uniform_(-bound, bound));
  }
  torch::Tensor forward(const torch::Tensor& x) {
    return conv2d(x, weight_, bias_, stride_, 1, compute_->precision).to(torch::kFloat32);
  }

 private:
  CodecComputePtr compute_;
  std::int64_t stride_;
  torch::Tensor weight_, bias_;  // [out, in, 4, 4], [out]
};

torch::nn::BatchNorm2d batch_norm(std::int64_t channels) {
  auto made = torch::nn::BatchNorm2d(channels);
  const torch::NoGradGuard no_grad;
  made->weight.normal_(1.0, 0.02);
  return made;
}

torch::nn::LeakyReLU leaky() {
  return torch::nn::LeakyReLU(torch::nn::LeakyReLUOptions().negative_slope(0.2));
}

}  // namespace

DiscriminatorImpl::DiscriminatorImpl(const DiscriminatorOptions& options) : compute_(std::make_shared<CodecCompute>()) {
  require(options.layers >= 1 && options.layers <= 8, "discriminator: {} layers, expected 1 to 8", options.layers);
  require(options.base_channels >= 1, "discriminator: {} base channels, expected 1 or more", options.base_channels);
  std::int64_t width = options.base_channels;
  main_->push_back(std::make_shared<PatchConvolution>(compute_, options.image_channels, width, 2, true));
  main_->push_back(leaky());
  for (std::int64_t layer = 1; layer <= options.layers; ++layer) {
    const std::int64_t next = options.base_channels * std::min<std::int64_t>(std::int64_t{1} << layer, 8);
    main_->push_back(std::make_shared<PatchConvolution>(compute_, width, next, layer < options.layers ? 2 : 1, false));
    main_->push_back(batch_norm(next));
    main_->push_back(leaky());
    width = next;
  }
  main_->push_back(std::make_shared<PatchConvolution>(compute_, width, 1, 1, true));
  register_module("main", main_);
}

torch::Tensor DiscriminatorImpl::forward(const torch::Tensor& images) {
  return main_->forward(images);
}

TensorMap DiscriminatorImpl::weights() const {
  TensorMap map;
  for (const auto& item : named_parameters()) map[item.key()] = item.value().detach();
  for (const auto& item : named_buffers()) map[item.key()] = item.value().detach();
  return map;
}

void DiscriminatorImpl::load(const TensorMap& given, const std::string& what) {
  const torch::NoGradGuard no_grad;
  for (auto& [name, tensor] : weights()) {
    const auto found = given.find(name);
    require(found != given.end(), "{}: discriminator weight '{}' is missing", what, name);
    require(found->second.sizes() == tensor.sizes(), "{}: discriminator weight '{}' has another shape than expected",
            what, name);
    tensor.copy_(found->second);
  }
}

torch::Tensor hinge_loss(const torch::Tensor& real_logits, const torch::Tensor& fake_logits) {
  return 0.5 * (torch::relu(1.0 - real_logits).mean() + torch::relu(1.0 + fake_logits).mean());
}

namespace {

std::array<torch::Tensor, 2> both_gradients(const torch::Tensor& reconstruction_loss,
                                            const torch::Tensor& generator_loss, const torch::Tensor& last_layer) {
  return {torch::autograd::grad({reconstruction_loss}, {last_layer}, {}, true)[0],
          torch::autograd::grad({generator_loss}, {last_layer}, {}, true)[0]};
}

torch::Tensor weight_of(const torch::Tensor& of_reconstruction, const torch::Tensor& of_generator, double maximum) {
  return (of_reconstruction.norm() / (of_generator.norm() + 1e-4)).clamp(0.0, maximum).detach();
}

}  // namespace

torch::Tensor last_layer_gradients(const torch::Tensor& reconstruction_loss, const torch::Tensor& generator_loss,
                                   const torch::Tensor& last_layer) {
  const auto [of_reconstruction, of_generator] = both_gradients(reconstruction_loss, generator_loss, last_layer);
  return torch::stack({of_reconstruction, of_generator}).detach();
}

torch::Tensor adaptive_weight(const torch::Tensor& gradients, double maximum) {
  return weight_of(gradients[0], gradients[1], maximum);
}

torch::Tensor adaptive_weight(const torch::Tensor& reconstruction_loss, const torch::Tensor& generator_loss,
                              const torch::Tensor& last_layer, double maximum) {
  const auto [of_reconstruction, of_generator] = both_gradients(reconstruction_loss, generator_loss, last_layer);
  return weight_of(of_reconstruction, of_generator, maximum);
}

}  // namespace tessera
