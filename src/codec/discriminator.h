/// PatchGAN discriminator (arXiv:1611.07004) and the adversarial terms of VQGAN training (arXiv:2012.09841, eq. 4 to 7;
/// arXiv:2111.12701, eq. 9).
#pragma once

#include <torch/torch.h>

#include "checkpoint/safetensors.h"
#include "codec/layers.h"

namespace tessera {

struct DiscriminatorOptions {
  std::int64_t image_channels = 3;
  std::int64_t base_channels = 64;  // ndf
  std::int64_t layers = 3;          // convolutions of stride 2
};

/// Images [N, C, H, W] in the codec's range -> patch logits [N, 1, p, q], float32. 4x4 convolutions with padding 1;
/// batch norm in all but the first and last; LeakyReLU 0.2. Widths grow by min(2^n, 8).
class DiscriminatorImpl : public torch::nn::Module {
 public:
  explicit DiscriminatorImpl(const DiscriminatorOptions& options);
  torch::Tensor forward(const torch::Tensor& images);
  /// Of the convolutions; batch norm is float32 either way.
  void set_precision(Precision precision) { compute_->precision = precision; }
  /// Parameters and buffers, named main.N.* as the releases name them; and back, all of them required.
  TensorMap weights() const;
  void load(const TensorMap& weights, const std::string& what);

 private:
  CodecComputePtr compute_;
  torch::nn::Sequential main_;
};
TORCH_MODULE(Discriminator);

/// 0.5 * (mean relu(1 - real) + mean relu(1 + fake)).
torch::Tensor hinge_loss(const torch::Tensor& real_logits, const torch::Tensor& fake_logits);

/// Gradients of both losses on the last layer, [2, its shape]. Keeps both graphs.
torch::Tensor last_layer_gradients(const torch::Tensor& reconstruction_loss, const torch::Tensor& generator_loss,
                                   const torch::Tensor& last_layer);

/// ||grad reconstruction|| / (||grad generator|| + 1e-4), clamped to [0, maximum]. In: last_layer_gradients, of the
/// whole batch. Out: scalar, no gradient.
torch::Tensor adaptive_weight(const torch::Tensor& gradients, double maximum);
/// Both at once.
torch::Tensor adaptive_weight(const torch::Tensor& reconstruction_loss, const torch::Tensor& generator_loss,
                              const torch::Tensor& last_layer, double maximum);

}  // namespace tessera
