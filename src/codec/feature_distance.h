/// The perceptual term by a pretrained feature network: distance of its maps, without calibration
/// (features/backbone.h).
#pragma once

#include <string>

#include "codec/codec_options.h"
#include "codec/perceptual.h"
#include "features/backbone.h"

namespace tessera {

class FeatureDistance : public PerceptualLoss {
 public:
  /// range: of the pictures that it will be given.
  FeatureDistance(Backbone backbone, PixelRange range) : backbone_(std::move(backbone)), range_(range) {}
  torch::Tensor distance(const torch::Tensor& a, const torch::Tensor& b) override;
  void to(torch::Device device) override { backbone_.to(device); }
  std::string name() const override;

 private:
  torch::Tensor unit(const torch::Tensor& pictures) const;

  Backbone backbone_;
  PixelRange range_;
};

}  // namespace tessera
