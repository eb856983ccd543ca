#include "metrics/reconstruction.h"

#include <algorithm>
#include <array>

#include "runtime/error.h"

namespace tessera {
namespace {

constexpr std::int64_t kWindow = 11;
constexpr double kDeviation = 1.5;
constexpr double kC1 = (0.01 * 255) * (0.01 * 255), kC2 = (0.03 * 255) * (0.03 * 255);
constexpr std::array<double, 5> kExponents = {0.0448, 0.2856, 0.3001, 0.2363, 0.1333};

void check(const torch::Tensor& a, const torch::Tensor& b, const char* what) {
  require(a.dim() == 4 && a.scalar_type() == torch::kUInt8 && b.scalar_type() == torch::kUInt8,
          "{}: expected bytes [N, C, H, W]", what);
  require(a.sizes() == b.sizes(), "{}: images of {}x{} and {}x{}, {} and {} of them; expected the same", what,
          a.size(3), a.size(2), b.size(3), b.size(2), a.size(0), b.size(0));
}

torch::Tensor per_image(const torch::Tensor& x) {
  return x.flatten(1).mean(1);
}

/// Gaussian means of every window, channel by channel. In: [N, C, H, W] float64.
torch::Tensor window_means(const torch::Tensor& x) {
  const auto place = torch::arange(kWindow, torch::kFloat64) - (kWindow - 1) / 2;
  auto line = (-place.square() / (2 * kDeviation * kDeviation)).exp();
  line = line / line.sum();
  const auto planes = x.flatten(0, 1).unsqueeze(1);
  const auto down = torch::conv2d(planes, line.view({1, 1, kWindow, 1}));
  const auto both = torch::conv2d(down, line.view({1, 1, 1, kWindow}));
  return both.view({x.size(0), x.size(1), both.size(2), both.size(3)});
}

/// [N, C] means over positions: the whole index, and its contrast and structure part alone.
struct Similarity {
  torch::Tensor whole, contrast;
};

Similarity similarity(const torch::Tensor& a, const torch::Tensor& b) {
  require(std::min(a.size(2), a.size(3)) >= kWindow, "SSIM: images of {}x{}, expected sides of at least {}", a.size(3),
          a.size(2), kWindow);
  const auto mean_a = window_means(a), mean_b = window_means(b);
  const auto var_a = window_means(a * a) - mean_a.square(), var_b = window_means(b * b) - mean_b.square();
  const auto covariance = window_means(a * b) - mean_a * mean_b;
  const auto contrast = (2 * covariance + kC2) / (var_a + var_b + kC2);
  const auto luminance = (2 * mean_a * mean_b + kC1) / (mean_a.square() + mean_b.square() + kC1);
  return {(luminance * contrast).mean({2, 3}), contrast.mean({2, 3})};
}

}  // namespace

torch::Tensor l1_distance(const torch::Tensor& a, const torch::Tensor& b) {
  check(a, b, "L1");
  return per_image((a.to(torch::kFloat64) - b.to(torch::kFloat64)).abs()) / 255;
}

torch::Tensor psnr(const torch::Tensor& a, const torch::Tensor& b) {
  check(a, b, "PSNR");
  const auto error = per_image((a.to(torch::kFloat64) - b.to(torch::kFloat64)).square()) / (255.0 * 255.0);
  return -10 * error.clamp_min(1e-10).log10();
}

torch::Tensor ssim(const torch::Tensor& a, const torch::Tensor& b) {
  check(a, b, "SSIM");
  return similarity(a.to(torch::kFloat64), b.to(torch::kFloat64)).whole.mean(1);
}

std::int64_t ms_ssim_scales(std::int64_t smaller_side) {
  std::int64_t scales = 0;
  while (scales < static_cast<std::int64_t>(kExponents.size()) && smaller_side >> scales >= kWindow) ++scales;
  return scales;
}

torch::Tensor ms_ssim(const torch::Tensor& a, const torch::Tensor& b, std::int64_t scales) {
  check(a, b, "MS-SSIM");
  const auto most = ms_ssim_scales(std::min(a.size(2), a.size(3)));
  require(scales >= 1 && scales <= most, "MS-SSIM: {} scales, expected 1 to {} on images of {}x{}", scales, most,
          a.size(3), a.size(2));
  double total = 0;
  for (std::int64_t i = 0; i < scales; ++i) total += kExponents[static_cast<std::size_t>(i)];
  auto x = a.to(torch::kFloat64), y = b.to(torch::kFloat64);
  auto product = torch::ones({a.size(0), a.size(1)}, torch::kFloat64);
  for (std::int64_t scale = 0; scale < scales; ++scale) {
    if (scale > 0) {
      x = torch::avg_pool2d(x, 2);
      y = torch::avg_pool2d(y, 2);
    }
    const auto both = similarity(x, y);
    const auto term = scale == scales - 1 ? both.whole : both.contrast;
    product = product * term.clamp_min(0).pow(kExponents[static_cast<std::size_t>(scale)] / total);
  }
  return product.mean(1);
}

}  // namespace tessera
