/// The perceptual term by a feature network.
#include "codec/feature_distance.h"

#include <gtest/gtest.h>

namespace tessera {
namespace feature_distance_test {

TEST(FeatureDistance, IsTheSameInEitherRangeOfPixels) {
  torch::manual_seed(2);
  const auto a = torch::rand({3, 3, 32, 40}), b = (a + 0.05 * torch::randn_like(a)).clamp(0, 1);
  FeatureDistance unit(shipped_backbone("squeezenet"), PixelRange::unit);
  FeatureDistance symmetric(shipped_backbone("squeezenet"), PixelRange::symmetric);
  const auto distance = unit.distance(a, b);
  EXPECT_EQ(distance.sizes(), torch::IntArrayRef({3}));
  EXPECT_TRUE(torch::allclose(distance, symmetric.distance(a * 2 - 1, b * 2 - 1), 1e-3, 1e-5));
  EXPECT_TRUE(torch::allclose(distance, unit.distance(b, a), 1e-5, 1e-6));
}

TEST(FeatureDistance, IsNamedForWhatItIs) {
  const FeatureDistance term(shipped_backbone("squeezenet"), PixelRange::unit);
  EXPECT_EQ(term.name(), "SqueezeNet 1.1 perceptual distance, uncalibrated");
}

TEST(FeatureDistance, DescendingItLeadsToThePicture) {
  torch::manual_seed(4);
  const auto target =
      torch::nn::functional::interpolate(torch::rand({1, 3, 6, 6}), torch::nn::functional::InterpolateFuncOptions()
                                                                        .size(std::vector<int64_t>{36, 36})
                                                                        .mode(torch::kBilinear)
                                                                        .align_corners(false));
  for (const auto precision : {Precision::float32, Precision::bfloat16}) {
    FeatureDistance term(shipped_backbone("squeezenet", precision), PixelRange::unit);
    auto guess = (target + 0.1 * torch::randn_like(target)).requires_grad_(true);
    torch::optim::Adam optimizer({guess}, torch::optim::AdamOptions(0.01));
    double first = 0, last = 0;
    for (int step = 0; step < 25; ++step) {
      optimizer.zero_grad();
      const auto distance = term.distance(target, guess).sum();
      distance.backward();
      optimizer.step();
      last = distance.item<double>();
      if (step == 0) first = last;
    }
    EXPECT_LT(last, 0.7 * first);
  }
}

}  // namespace feature_distance_test
}  // namespace tessera
