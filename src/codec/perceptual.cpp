#include "codec/perceptual.h"

#include <array>

#include "runtime/error.h"

namespace tessera {
namespace {

/// torchvision's VGG16 `features`: index of each convolution; after which of them a map is taken; before which it
/// pools.
struct VggLayer {
  int index;
  bool pool_before;
  bool take_after;
};
constexpr std::array<VggLayer, 13> kVgg16 = {{{0, false, false},
                                              {2, false, true},
                                              {5, true, false},
                                              {7, false, true},
                                              {10, true, false},
                                              {12, false, false},
                                              {14, false, true},
                                              {17, true, false},
                                              {19, false, false},
                                              {21, false, true},
                                              {24, true, false},
                                              {26, false, false},
                                              {28, false, true}}};

torch::Tensor find(const TensorMap& map, const std::string& name, const char* what) {
  const auto found = map.find(name);
  require(found != map.end(), "LPIPS: {} hold no tensor '{}'", what, name);
  return found->second.to(torch::kFloat32);
}

/// The norm's gradient is zero where all channels are (a square root of a sum would give NaN there).
torch::Tensor unit_length(const torch::Tensor& map) {
  return map / (map.norm(2, {1}, true) + 1e-10);
}

torch::Tensor mean_an_image(const torch::Tensor& x) {
  return x.flatten(1).mean(1);
}

}  // namespace

torch::Tensor EdgePyramidLoss::distance(const torch::Tensor& a, const torch::Tensor& b) {
  // The differences are linear, so that the pyramid of the difference image is the difference of the pyramids.
  auto difference = a - b;
  auto total = torch::zeros({a.size(0)}, difference.options());
  int used = 0;
  for (int level = 0; level < levels_ && difference.size(2) > 1 && difference.size(3) > 1; ++level, ++used) {
    if (level > 0) difference = torch::avg_pool2d(difference, 2);
    if (difference.size(2) < 2 || difference.size(3) < 2) break;
    total = total + mean_an_image((difference.slice(2, 1) - difference.slice(2, 0, -1)).abs()) +
            mean_an_image((difference.slice(3, 1) - difference.slice(3, 0, -1)).abs());
  }
  return total / std::max(used, 1);
}

Lpips::Lpips(const TensorMap& vgg, const TensorMap& heads, Precision precision) : precision_(precision) {
  for (const auto& layer : kVgg16) {
    weights_.push_back(find(vgg, fmt::format("features.{}.weight", layer.index), "the VGG16 weights"));
    biases_.push_back(find(vgg, fmt::format("features.{}.bias", layer.index), "the VGG16 weights"));
  }
  for (int head = 0; head < 5; ++head)
    heads_.push_back(find(heads, fmt::format("lin{}.model.1.weight", head), "the heads"));
}

void Lpips::to(torch::Device device) {
  for (auto* group : {&weights_, &biases_, &heads_}) {
    for (auto& tensor : *group) tensor = tensor.to(device);
  }
}

std::vector<torch::Tensor> Lpips::features(const torch::Tensor& images) const {
  const auto shift = torch::tensor({-0.030, -0.088, -0.188}, images.options()).view({1, 3, 1, 1});
  const auto scale = torch::tensor({0.458, 0.448, 0.450}, images.options()).view({1, 3, 1, 1});
  auto x = (images - shift) / scale;
  std::vector<torch::Tensor> maps;
  for (std::size_t i = 0; i < kVgg16.size(); ++i) {
    if (kVgg16[i].pool_before) x = torch::max_pool2d(x, 2, 2);
    x = torch::relu(conv2d(x, weights_[i], biases_[i], 1, 1, precision_));
    if (kVgg16[i].take_after) maps.push_back(x.to(torch::kFloat32));
  }
  return maps;
}

std::vector<torch::Tensor> Lpips::parts(const std::vector<torch::Tensor>& a,
                                        const std::vector<torch::Tensor>& b) const {
  std::vector<torch::Tensor> parts;
  for (std::size_t i = 0; i < heads_.size(); ++i) {
    const auto difference = (unit_length(a.at(i)) - unit_length(b.at(i))).square();
    parts.push_back(mean_an_image(torch::conv2d(difference, heads_[i])));
  }
  return parts;
}

torch::Tensor Lpips::embedding(const torch::Tensor& images) const {
  const auto maps = features(images);
  std::vector<torch::Tensor> points;
  for (std::size_t i = 0; i < heads_.size(); ++i) {
    require(heads_[i].min().item<double>() >= 0, "LPIPS: head {} holds negative weights, so there is no embedding", i);
    const auto positions = static_cast<double>(maps[i].size(2) * maps[i].size(3));
    points.push_back((unit_length(maps[i]) * (heads_[i] / positions).sqrt()).flatten(1));
  }
  return torch::cat(points, 1);
}

torch::Tensor Lpips::distance(const torch::Tensor& a, const torch::Tensor& b) {
  const auto each = parts(features(a), features(b));
  return torch::stack(each).sum(0);
}

}  // namespace tessera
