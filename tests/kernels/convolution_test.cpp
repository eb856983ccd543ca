#include <gtest/gtest.h>
#include <torch/torch.h>

#include <vector>

#include "kernels/closeness.h"
#include "kernels/ops/layers.h"
#include "runtime/error.h"

namespace tessera {
namespace convolution_test {

struct Case {
  int64_t images, inputs, outputs, height, width, kernel_height, kernel_width, stride;
  Padding padding;
  bool bias = true;
};

const std::vector<Case> kCases = {
    {2, 32, 32, 16, 16, 3, 3, 1, Padding::all(1)},      {1, 64, 64, 64, 64, 3, 3, 1, Padding::all(1)},
    {3, 40, 24, 9, 7, 3, 3, 1, Padding::all(1)},        {2, 3, 33, 11, 20, 3, 3, 1, Padding::all(1), false},
    {2, 64, 3, 17, 5, 3, 3, 1, Padding::all(1)},        {2, 32, 48, 16, 16, 3, 3, 2, {0, 0, 1, 1}},
    {2, 16, 32, 13, 18, 3, 3, 2, Padding::all(1)},      {1, 70, 65, 8, 8, 1, 1, 1, Padding::all(0)},
    {2, 64, 32, 6, 7, 1, 1, 2, Padding::all(0), false}, {2, 5, 6, 10, 9, 4, 4, 2, Padding::all(1)},
    {1, 7, 9, 12, 11, 5, 3, 1, {2, 0, 1, 3}},           {1, 33, 1, 7, 7, 7, 7, 3, Padding::all(3)},
    {1, 1, 1, 1, 1, 3, 3, 1, Padding::all(1)},          {1, 4, 4, 5, 5, 2, 2, 4, Padding::all(3)},
    {1, 128, 96, 3, 130, 3, 3, 1, Padding::all(1)},
};

torch::Tensor reference(const torch::Tensor& x, const torch::Tensor& w, const torch::Tensor& b, const Case& c) {
  const auto& p = c.padding;
  return torch::conv2d(torch::constant_pad_nd(x, {p.left, p.right, p.top, p.bottom}, 0), w, b, c.stride);
}

torch::Tensor rounded(const torch::Tensor& t, Precision precision) {
  return precision == Precision::bfloat16 ? t.to(torch::kBFloat16).to(torch::kDouble) : t.to(torch::kDouble);
}

/// The operation is exact in its (rounded) operands but for the float32 sums: n terms, at most n roundings of partial
/// sums, each below 2^-24 times the sum of the terms' magnitudes, which the same operation on magnitudes gives.
void check(const Case& c, Precision precision, torch::ScalarType dtype, torch::MemoryFormat format) {
  SCOPED_TRACE(::testing::Message() << c.images << " x " << c.inputs << " -> " << c.outputs << ", " << c.height << " x "
                                    << c.width << ", kernel " << c.kernel_height << " x " << c.kernel_width
                                    << ", stride " << c.stride << ", " << dtype << ", " << format);
  torch::manual_seed(3);
  auto x = torch::randn({c.images, c.inputs, c.height, c.width}).to(dtype).contiguous(format).requires_grad_();
  auto w = torch::randn({c.outputs, c.inputs, c.kernel_height, c.kernel_width}).contiguous(format).requires_grad_();
  auto b = c.bias ? torch::randn({c.outputs}).requires_grad_() : torch::Tensor();
  const auto y = conv2d(x, w, b, c.stride, c.padding, precision);
  EXPECT_EQ(y.scalar_type(), precision == Precision::bfloat16 ? torch::kBFloat16 : torch::kFloat);
  const auto g = torch::randn(y.sizes()).to(y.scalar_type());

  const auto run = [&](const torch::Tensor& x0, const torch::Tensor& w0, const torch::Tensor& b0,
                       const torch::Tensor& g0) {
    auto x1 = x0.clone().requires_grad_(), w1 = w0.clone().requires_grad_();
    auto b1 = b0.defined() ? b0.clone().requires_grad_() : b0;
    auto y1 = reference(x1, w1, b1, c);
    std::vector<torch::Tensor> inputs = {x1, w1};
    if (b1.defined()) inputs.push_back(b1);
    auto result = torch::autograd::grad({y1}, inputs, {g0});
    result.push_back(y1.detach());
    return result;
  };
  const auto x64 = rounded(x.detach(), precision), w64 = rounded(w.detach(), precision), g64 = g.to(torch::kDouble);
  const auto b64 = c.bias ? b.detach().to(torch::kDouble) : b;
  const auto expected = run(x64, w64, b64, g64);
  const auto size = run(x64.abs(), w64.abs(), c.bias ? b64.abs() : b64, g64.abs());
  const double u = 0x1p-24;
  const double terms_y = double(c.inputs * c.kernel_height * c.kernel_width + 1),
               terms_x = double(c.outputs * c.kernel_height * c.kernel_width);
  const double terms_w = double(c.images * y.size(2) * y.size(3));
  EXPECT_TRUE(is_within(y, expected.back(), size.back() * (terms_y * u)));
  std::vector<torch::Tensor> inputs = {x, w};
  if (c.bias) inputs.push_back(b);
  for (int repeat = 0; repeat < 2; ++repeat) {
    const auto result = torch::autograd::grad({y}, inputs, {g}, true);
    EXPECT_EQ(result[0].scalar_type(), dtype);
    EXPECT_EQ(result[1].scalar_type(), torch::kFloat);
    // Into float32 input the gradient is rounded to bfloat16 all the same.
    const double into_x = precision == Precision::bfloat16 ? 0x1p-8 : 0;
    EXPECT_TRUE(is_within(result[0], expected[0], size[0] * (terms_x * u) + expected[0].abs() * into_x));
    EXPECT_TRUE(is_within(result[1], expected[1], size[1] * (terms_w * u)));
    // LibTorch sums a bfloat16 bias gradient in bfloat16 where the tiles are not used.
    if (c.bias && (precision == Precision::float32 || cpu_has_avx512_bf16())) {
      EXPECT_TRUE(is_within(result[2], expected[2], size[2] * (terms_w * u)));
    }
  }
}

TEST(Conv2d, MatchesFloat64ForwardAndBackwardInBfloat16) {
  for (const auto& c : kCases) {
    for (const auto dtype : {torch::kBFloat16, torch::kFloat}) {
      check(c, Precision::bfloat16, dtype, torch::MemoryFormat::ChannelsLast);
      check(c, Precision::bfloat16, dtype, torch::MemoryFormat::Contiguous);
    }
  }
}

TEST(Conv2d, MatchesFloat64ForwardAndBackwardInFloat32) {
  for (const auto& c : kCases) check(c, Precision::float32, torch::kFloat, torch::MemoryFormat::Contiguous);
}

TEST(Conv2d, GivesTheSameOnOneThreadAndOnTwo) {
  torch::manual_seed(5);
  const auto x = torch::randn({3, 32, 16, 16}).to(torch::kBFloat16);
  const auto w = torch::randn({32, 32, 3, 3}), b = torch::randn({32});
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const auto one = conv2d(x, w, b, 1, 1, Precision::bfloat16);
  at::set_num_threads(2);
  const auto two = conv2d(x, w, b, 1, 1, Precision::bfloat16);
  at::set_num_threads(before);
  EXPECT_TRUE(torch::equal(one, two));
}

TEST(Conv2d, GivesTheGradientOfTheWeightAloneWithTheGraphKept) {
  torch::manual_seed(6);
  auto x = torch::randn({2, 32, 8, 8}).to(torch::kBFloat16).requires_grad_();
  auto w = torch::randn({16, 32, 3, 3}).requires_grad_(), b = torch::randn({16}).requires_grad_();
  const auto y = conv2d(x, w, b, 1, 1, Precision::bfloat16).to(torch::kFloat);
  const auto alone = torch::autograd::grad({y.square().sum()}, {w}, {}, true)[0];
  const auto together = torch::autograd::grad({y.square().sum()}, {x, w, b}, {}, true);
  EXPECT_TRUE(torch::equal(alone, together[1]));
  const auto bias = torch::autograd::grad({y.square().sum()}, {b})[0];
  EXPECT_TRUE(torch::equal(bias, together[2]));
}

TEST(Conv2d, WorksWhereOnlyTheInputNeedsAGradientOrNothingDoes) {
  auto x = torch::randn({1, 32, 8, 8}).requires_grad_();
  const auto w = torch::randn({16, 32, 3, 3}), b = torch::randn({16});
  conv2d(x, w, b, 1, 1, Precision::bfloat16).sum().backward();
  EXPECT_TRUE(x.grad().isfinite().all().item<bool>());
  EXPECT_EQ(x.grad().scalar_type(), torch::kFloat);
  const torch::NoGradGuard no_gradient;
  EXPECT_FALSE(conv2d(x, w, b, 1, 1, Precision::bfloat16).requires_grad());
}

TEST(Conv2d, NamesShapesThatDoNotFit) {
  EXPECT_THROW(conv2d(torch::zeros({1, 3, 8, 8}), torch::zeros({4, 5, 3, 3}), {}, 1, 1, Precision::bfloat16), Error);
  EXPECT_THROW(conv2d(torch::zeros({1, 3, 2, 2}), torch::zeros({4, 3, 3, 3}), {}, 1, 0, Precision::bfloat16), Error);
  EXPECT_THROW(
      conv2d(torch::zeros({1, 3, 8, 8}), torch::zeros({4, 3, 3, 3}), torch::zeros({3}), 1, 1, Precision::float32),
      Error);
}

}  // namespace convolution_test
}  // namespace tessera
