#include <gtest/gtest.h>
#include <torch/torch.h>

#include <vector>

#include "kernels/closeness.h"
#include "kernels/ops/layers.h"
#include "runtime/error.h"

namespace tessera {
namespace group_norm_test {

struct Shape {
  int64_t images, channels, height, width, groups;
};

const std::vector<Shape> kShapes = {{2, 64, 8, 8, 32},  {3, 32, 5, 7, 32}, {1, 96, 3, 1, 32},
                                    {2, 18, 9, 5, 6},   {2, 5, 6, 3, 1},   {1, 7, 33, 5, 7},
                                    {2, 160, 4, 4, 32}, {1, 48, 1, 1, 8},  {0, 64, 4, 4, 32}};

torch::Tensor reference(const torch::Tensor& x, const torch::Tensor& w, const torch::Tensor& b, int64_t groups,
                        bool swish) {
  const torch::Tensor y = torch::group_norm(x, groups, w, b, 1e-6);
  return swish ? torch::silu(y) : y;
}

void check(const Shape& shape, torch::ScalarType dtype, torch::MemoryFormat format, bool swish, double mean) {
  SCOPED_TRACE(::testing::Message() << "[" << shape.images << ", " << shape.channels << ", " << shape.height << ", "
                                    << shape.width << "] in " << shape.groups << " groups, " << dtype << ", " << format
                                    << ", swish " << swish << ", mean " << mean);
  torch::manual_seed(7);
  auto x =
      (torch::randn({shape.images, shape.channels, shape.height, shape.width}) + mean).to(dtype).contiguous(format);
  auto w = torch::randn({shape.channels}), b = torch::randn({shape.channels});
  const auto g = torch::randn(x.sizes()).to(dtype);
  x.requires_grad_();
  w.requires_grad_();
  b.requires_grad_();
  const auto y = group_norm_swish(x, w, b, shape.groups, 1e-6, swish);
  EXPECT_EQ(y.scalar_type(), dtype);
  auto x64 = x.detach().to(torch::kDouble).requires_grad_();
  auto w64 = w.detach().to(torch::kDouble).requires_grad_(), b64 = b.detach().to(torch::kDouble).requires_grad_();
  const auto y64 = reference(x64, w64, b64, shape.groups, swish);
  const auto r64 = torch::autograd::grad({y64}, {x64, w64, b64}, {g.to(torch::kDouble)});
  // Float32 inside: the normalised value (x - m) r carries a few roundings of x r, |x| r <= |mean| + a few deviations;
  // the slope of swish is below 1.1. Sums over n elements: n roundings of partial sums in runs of 128, then float64 or
  // few terms.
  const double u = 0x1p-24, one = 16 * u * (10 + std::abs(mean));
  EXPECT_TRUE(is_within(y, y64, one * (1 + w64.abs().max())));
  for (int repeat = 0; repeat < 2; ++repeat) {
    const auto r = torch::autograd::grad({y}, {x, w, b}, {g}, true);
    EXPECT_EQ(r[0].scalar_type(), dtype);
    EXPECT_EQ(r[1].scalar_type(), torch::kFloat);
    if (shape.images == 0) continue;
    const auto deviation =
        1 / x64.detach().reshape({shape.images, shape.groups, -1}).var(2, false).add(1e-6).sqrt();  // [N, G]
    const double steep = deviation.max().item<double>() * 8;
    EXPECT_TRUE(is_within(r[0], r64[0], torch::full({}, one * steep * (1 + w64.abs().max().item<double>()) * 8)));
    const double count = double(shape.images * shape.height * shape.width);
    const double terms = one * 8 * (1 + count) + 128 * u * count;
    EXPECT_TRUE(is_within(r[1], r64[1], torch::full({}, terms)));
    EXPECT_TRUE(is_within(r[2], r64[2], torch::full({}, terms)));
  }
}

TEST(GroupNormSwish, MatchesFloat64ForwardAndBackwardInEveryLayoutAndType) {
  for (const auto& shape : kShapes) {
    for (const auto dtype : {torch::kFloat, torch::kBFloat16}) {
      for (const auto format : {torch::MemoryFormat::ChannelsLast, torch::MemoryFormat::Contiguous}) {
        for (const bool swish : {false, true}) {
          if (shape.height * shape.width * shape.channels / shape.groups == 1 && dtype == torch::kFloat) continue;
          check(shape, dtype, format, swish, 0);
        }
      }
    }
  }
}

TEST(GroupNormSwish, KeepsItsAccuracyWhenTheMeanIsFarFromZero) {
  for (const auto dtype : {torch::kFloat, torch::kBFloat16}) {
    check({2, 64, 16, 16, 32}, dtype, torch::MemoryFormat::ChannelsLast, true, 100);
  }
}

TEST(GroupNormSwish, GivesTheSameWhetherTheVectorLoopsAreUsedOrNot) {
  torch::manual_seed(1);
  const auto x = torch::randn({2, 64, 7, 9}).contiguous(torch::MemoryFormat::ChannelsLast);
  const auto w = torch::randn({64}), b = torch::randn({64});
  const auto fast = group_norm_swish(x, w, b, 32, 1e-6, true);
  const WithCpuLimit limit(CpuLimit::plain);
  EXPECT_TRUE(torch::allclose(fast, group_norm_swish(x, w, b, 32, 1e-6, true), 1e-5, 1e-5));
}

TEST(GroupNormSwish, ReadsASliceOfALargerTensor) {
  torch::manual_seed(2);
  const auto whole = torch::randn({2, 64, 9, 9}).to(torch::kBFloat16);
  const auto x = whole.slice(2, 1, 8).slice(3, 0, 9, 2).detach();
  const auto w = torch::randn({64}), b = torch::randn({64});
  EXPECT_TRUE(
      torch::equal(group_norm_swish(x, w, b, 32, 1e-6, true), group_norm_swish(x.clone(), w, b, 32, 1e-6, true)));
}

TEST(GroupNormSwish, NamesGroupsThatDoNotDivideTheChannels) {
  const auto x = torch::zeros({1, 10, 2, 2}), w = torch::ones({10});
  EXPECT_THROW(group_norm_swish(x, w, w, 4, 1e-6, true), Error);
}

}  // namespace group_norm_test
}  // namespace tessera
