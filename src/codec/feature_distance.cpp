#include "codec/feature_distance.h"

namespace tessera {

torch::Tensor FeatureDistance::unit(const torch::Tensor& pictures) const {
  return range_ == PixelRange::unit ? pictures : pictures * 0.5 + 0.5;
}

torch::Tensor FeatureDistance::distance(const torch::Tensor& a, const torch::Tensor& b) {
  return tap_distance(backbone_.taps(unit(a)), backbone_.taps(unit(b)));
}

std::string FeatureDistance::name() const {
  return backbone_.description().short_name() + " perceptual distance, uncalibrated";
}

}  // namespace tessera
