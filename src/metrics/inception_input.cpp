#include "metrics/inception_input.h"

#include <algorithm>
#include <cmath>

#include "runtime/error.h"

namespace tessera {
namespace {

constexpr std::int64_t kSide = 299;

/// Keys' cubic convolution with a = -1/2.
double cubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

/// Pillow's antialiased bicubic weights of one axis. Out: [299, in] float64, rows sum to 1.
torch::Tensor pillow_weights(std::int64_t in) {
  auto weights = torch::zeros({kSide, in}, torch::kFloat64);
  auto at = weights.accessor<double, 2>();
  const double scale = static_cast<double>(in) / kSide, stretch = std::max(scale, 1.0), support = 2 * stretch;
  for (std::int64_t i = 0; i < kSide; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const auto first = std::max<std::int64_t>(static_cast<std::int64_t>(centre - support + 0.5), 0);
    const auto last = std::min<std::int64_t>(static_cast<std::int64_t>(centre + support + 0.5), in);
    double total = 0;
    for (auto tap = first; tap < last; ++tap) {
      at[i][tap] = cubic((static_cast<double>(tap) - centre + 0.5) / stretch);
      total += at[i][tap];
    }
    for (auto tap = first; tap < last; ++tap) at[i][tap] /= total;
  }
  return weights;
}

torch::Tensor pillow_bicubic(const torch::Tensor& x) {
  // Pillow sums in double and stores float after each of its two passes.
  const auto across = torch::matmul(x.to(torch::kFloat64), pillow_weights(x.size(3)).t()).to(torch::kFloat32);
  return torch::matmul(pillow_weights(x.size(2)), across.to(torch::kFloat64)).to(torch::kFloat32).clamp(0, 255);
}

/// Bilinear along `dimension` on TensorFlow 1's grid.
torch::Tensor tensorflow_bilinear(const torch::Tensor& x, std::int64_t dimension) {
  const auto in = x.size(dimension);
  const float scale = static_cast<float>(in) / static_cast<float>(kSide);
  std::vector<std::int64_t> low, high;
  std::vector<float> weight;
  for (std::int64_t i = 0; i < kSide; ++i) {
    const float source = static_cast<float>(i) * scale;
    low.push_back(std::min(static_cast<std::int64_t>(std::floor(source)), in - 1));
    high.push_back(std::min(low.back() + 1, in - 1));
    weight.push_back(source - static_cast<float>(low.back()));
  }
  const auto below = x.index_select(dimension, torch::tensor(low, torch::kInt64));
  const auto above = x.index_select(dimension, torch::tensor(high, torch::kInt64));
  auto share = torch::tensor(weight, torch::kFloat32);
  if (dimension == 2) share = share.unsqueeze(1);
  return below + (above - below) * share;
}

}  // namespace

std::vector<std::string> inception_input_names() {
  return {"pytorch-fid", "torch-fidelity", "clean-fid"};
}

InceptionInput inception_input_from(const std::string& name) {
  if (name == "pytorch-fid") return InceptionInput::pytorch_fid;
  if (name == "torch-fidelity") return InceptionInput::torch_fidelity;
  if (name == "clean-fid") return InceptionInput::clean_fid;
  throw UsageError(fmt::format("Inception input '{}': expected one of pytorch-fid, torch-fidelity, clean-fid", name));
}

std::string name_of(InceptionInput convention) {
  return inception_input_names().at(static_cast<std::size_t>(convention));
}

torch::Tensor inception_input(const torch::Tensor& bytes, InceptionInput convention) {
  require(bytes.dim() == 4 && bytes.size(1) == 3 && bytes.scalar_type() == torch::kUInt8 && bytes.numel() > 0,
          "Inception input: expected bytes [N, 3, H, W]");
  const auto x = bytes.to(torch::kFloat32);
  switch (convention) {
    case InceptionInput::pytorch_fid:
      return 2 * torch::upsample_bilinear2d(x / 255, {kSide, kSide}, false) - 1;
    case InceptionInput::torch_fidelity:
      return (tensorflow_bilinear(tensorflow_bilinear(x, 3), 2) - 128) / 128;
    case InceptionInput::clean_fid:
      return (pillow_bicubic(x) - 128) / 128;
  }
  fail("Inception input: unknown convention");
}

}  // namespace tessera
