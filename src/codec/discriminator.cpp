#include "codec/discriminator.h"

#include <algorithm>
#include <limits>

#include "runtime/error.h"

namespace tessera {
namespace {

torch::nn::Conv2d convolution(std::int64_t in, std::int64_t out, std::int64_t stride, bool bias) {
  auto made = torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, 4).stride(stride).padding(1).bias(bias));
  const torch::NoGradGuard no_grad;
  made->weight.normal_(0.0, 0.02);  // DCGAN's initialisation, as in the releases
  return made;
}

torch::nn::BatchNorm2d batch_norm(std::int64_t channels) {
  auto made = torch::nn::BatchNorm2d(channels);
  const torch::NoGradGuard no_grad;
  made->weight.normal_(1.0, 0.02);
  return made;
}

torch::nn::LeakyReLU leaky() { return torch::nn::LeakyReLU(torch::nn::LeakyReLUOptions().negative_slope(0.2)); }

}  // namespace

DiscriminatorImpl::DiscriminatorImpl(const DiscriminatorOptions& options) {
  require(options.layers >= 1 && options.layers <= 8, "discriminator: {} layers, expected 1 to 8", options.layers);
  require(options.base_channels >= 1, "discriminator: {} base channels, expected 1 or more", options.base_channels);
  std::int64_t width = options.base_channels;
  main_->push_back(convolution(options.image_channels, width, 2, true));
  main_->push_back(leaky());
  for (std::int64_t layer = 1; layer <= options.layers; ++layer) {
    const std::int64_t next = options.base_channels * std::min<std::int64_t>(std::int64_t{1} << layer, 8);
    main_->push_back(convolution(width, next, layer < options.layers ? 2 : 1, false));
    main_->push_back(batch_norm(next));
    main_->push_back(leaky());
    width = next;
  }
  main_->push_back(convolution(width, 1, 1, true));
  register_module("main", main_);
}

torch::Tensor DiscriminatorImpl::forward(const torch::Tensor& images) { return main_->forward(images); }

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
    require(found->second.sizes() == tensor.sizes(), "{}: discriminator weight '{}' has another shape than expected", what, name);
    tensor.copy_(found->second);
  }
}

torch::Tensor hinge_loss(const torch::Tensor& real_logits, const torch::Tensor& fake_logits) {
  return 0.5 * (torch::relu(1.0 - real_logits).mean() + torch::relu(1.0 + fake_logits).mean());
}

torch::Tensor adaptive_weight(const torch::Tensor& reconstruction_loss, const torch::Tensor& generator_loss,
                              const torch::Tensor& last_layer, double maximum) {
  const auto of_reconstruction = torch::autograd::grad({reconstruction_loss}, {last_layer}, {}, true)[0];
  const auto of_generator = torch::autograd::grad({generator_loss}, {last_layer}, {}, true)[0];
  return (of_reconstruction.norm() / (of_generator.norm() + 1e-4)).clamp(0.0, maximum).detach();
}

}  // namespace tessera
