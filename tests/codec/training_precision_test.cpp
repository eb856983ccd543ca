// The networks of the adversarial and perceptual terms in the precision that training uses.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "codec/discriminator.h"
#include "codec/perceptual.h"

namespace tessera {
namespace training_precision_test {

double relative_error(const torch::Tensor& got, const torch::Tensor& want) {
  return ((got - want).norm() / want.norm()).item<double>();
}

/// VGG16's trunk with He-initialised weights, and heads of ones: activations keep their size through the layers.
std::pair<TensorMap, TensorMap> some_lpips(double gain) {
  torch::manual_seed(11);
  constexpr std::pair<int, int> kLayers[] = {{0, 64},   {2, 64},   {5, 128},  {7, 128},  {10, 256},
                                             {12, 256}, {14, 256}, {17, 512}, {19, 512}, {21, 512},
                                             {24, 512}, {26, 512}, {28, 512}};
  TensorMap vgg, heads;
  std::int64_t in = 3;
  for (const auto& [index, out] : kLayers) {
    const auto name = fmt::format("features.{}", index);
    vgg[name + ".weight"] = torch::randn({out, in, 3, 3}) * gain * std::sqrt(2.0 / static_cast<double>(9 * in));
    vgg[name + ".bias"] = torch::zeros({out});
    in = out;
  }
  const std::int64_t widths[] = {64, 128, 256, 512, 512};
  for (int i = 0; i < 5; ++i) heads[fmt::format("lin{}.model.1.weight", i)] = torch::ones({1, widths[i], 1, 1});
  return {vgg, heads};
}

TEST(Discriminator, KeepsTheNamesOfTheReleasesInEveryPrecision) {
  Discriminator discriminator(DiscriminatorOptions{3, 8, 2});
  discriminator->set_precision(Precision::bfloat16);
  std::vector<std::string> names;
  for (const auto& [name, tensor] : discriminator->weights()) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"main.0.bias", "main.0.weight", "main.2.weight", "main.3.bias",
                                             "main.3.num_batches_tracked", "main.3.running_mean", "main.3.running_var",
                                             "main.3.weight", "main.5.weight", "main.6.bias",
                                             "main.6.num_batches_tracked", "main.6.running_mean", "main.6.running_var",
                                             "main.6.weight", "main.8.bias", "main.8.weight"}));
}

TEST(Discriminator, InBfloat16IsCloseToFloat32AndTrains) {
  torch::manual_seed(12);
  Discriminator discriminator(DiscriminatorOptions{3, 16, 2});
  discriminator->train();
  std::vector<torch::Tensor> logits, image_gradients, weight_gradients;
  const auto values = torch::rand({4, 3, 32, 32});
  for (const auto precision : {Precision::float32, Precision::bfloat16}) {
    discriminator->set_precision(precision);
    const auto images = values.clone().requires_grad_(true);
    const auto out = discriminator->forward(images);
    EXPECT_EQ(out.scalar_type(), torch::kFloat32);
    discriminator->zero_grad();
    out.square().mean().backward();
    logits.push_back(out.detach());
    image_gradients.push_back(images.grad().clone());
    weight_gradients.push_back(discriminator->named_parameters()["main.5.weight"].grad().clone());
  }
  // Four convolutions, each rounding its operands to 8 bits of mantissa; batch norm enlarges what little differs.
  EXPECT_LT(relative_error(logits[1], logits[0]), 0.05);
  EXPECT_LT(relative_error(image_gradients[1], image_gradients[0]), 0.1);
  EXPECT_LT(relative_error(weight_gradients[1], weight_gradients[0]), 0.1);
}

TEST(Perceptual, LpipsInBfloat16IsCloseToFloat32) {
  const auto [vgg, heads] = some_lpips(1);
  const auto a = torch::rand({1, 3, 32, 32}) * 2 - 1, noise = torch::randn({1, 3, 32, 32}) * 0.3;
  std::vector<torch::Tensor> distances, gradients;
  for (const auto precision : {Precision::float32, Precision::bfloat16}) {
    Lpips lpips(vgg, heads, precision);
    const auto b = (a + noise).requires_grad_(true);
    const auto distance = lpips.distance(a, b);
    distance.sum().backward();
    distances.push_back(distance.detach());
    gradients.push_back(b.grad().clone());
  }
  EXPECT_GT(distances[0].item<float>(), 0.1F);
  EXPECT_LT(relative_error(distances[1], distances[0]), 0.02);
  EXPECT_LT(relative_error(gradients[1], gradients[0]), 0.2);
}

TEST(Perceptual, LpipsHasAGradientWhereAllChannelsAreZero) {
  const auto [vgg, heads] = some_lpips(0);
  Lpips lpips(vgg, heads);
  const auto image = torch::rand({1, 3, 16, 16}).requires_grad_(true);
  lpips.distance(torch::rand({1, 3, 16, 16}), image).sum().backward();
  EXPECT_EQ(image.grad().abs().max().item<float>(), 0.0F);  // not NaN
}

}  // namespace training_precision_test
}  // namespace tessera
