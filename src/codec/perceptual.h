/// Perceptual terms of the reconstruction loss.
#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <memory>
#include <string>

#include "checkpoint/safetensors.h"
#include "kernels/ops/layers.h"

namespace tessera {

/// Distance of two batches of pictures, one number an image. Gradients flow to both.
class PerceptualLoss {
 public:
  virtual ~PerceptualLoss() = default;
  /// In: [N, 3, H, W] twice, in the range that the codec trains with. Out: [N].
  virtual torch::Tensor distance(const torch::Tensor& a, const torch::Tensor& b) = 0;
  /// Moves its weights, if it has any, to where the pictures are.
  virtual void to(torch::Device) {}
  /// For logs and model cards: which term it is.
  virtual std::string name() const = 0;
};

/// The stand-in that needs no download: mean absolute difference of horizontal and vertical finite differences at
/// `levels` scales of a 2x2-mean pyramid. It asks for edges in the right place and direction; it knows nothing of
/// content.
class EdgePyramidLoss : public PerceptualLoss {
 public:
  explicit EdgePyramidLoss(int levels = 3) : levels_(levels) {}
  torch::Tensor distance(const torch::Tensor& a, const torch::Tensor& b) override;
  std::string name() const override { return "edge pyramid (stand-in, no weights)"; }

 private:
  int levels_;
};

/// LPIPS v0.1 with VGG16 (arXiv:1801.03924): unit-normalised features of five ReLU layers, squared difference weighted
/// by the heads, averaged over positions, summed over layers.
class Lpips : public PerceptualLoss {
 public:
  /// In: vgg, torchvision's `features.I.{weight,bias}` (I = 0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28); heads,
  /// `lin0..4.model.1.weight` [1, C, 1, 1]. Other names are ignored; a missing one is an Error that names it.
  /// precision: of the trunk's convolutions and activations; the maps, norms and distances are float32 either way.
  Lpips(const TensorMap& vgg, const TensorMap& heads, Precision precision = Precision::float32);
  torch::Tensor distance(const torch::Tensor& a, const torch::Tensor& b) override;
  void to(torch::Device device) override;
  std::string name() const override { return "LPIPS v0.1, VGG16"; }

  /// The five feature maps, float32, of images in [-1, 1].
  std::vector<torch::Tensor> features(const torch::Tensor& images) const;
  /// The five parts of the distance of given feature maps, each [N]; heads as given at construction.
  std::vector<torch::Tensor> parts(const std::vector<torch::Tensor>& a, const std::vector<torch::Tensor>& b) const;
  /// The images [N, 3, H, W] in [-1, 1] as points [N, E] whose squared Euclidean distances are the LPIPS distances, for
  /// searches; E is the sum of C h w over the five maps. Heads must not be negative (the published ones are not).
  torch::Tensor embedding(const torch::Tensor& images) const;

 private:
  Precision precision_;
  std::vector<torch::Tensor> weights_, biases_, heads_;
};

}  // namespace tessera
