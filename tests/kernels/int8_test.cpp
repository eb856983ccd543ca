#include <gtest/gtest.h>

#include <cmath>

#include "kernels/closeness.h"
#include "kernels/ops/layers.h"
#include "runtime/error.h"

namespace tessera {
namespace int8_test {

torch::Tensor on_bfloat16(const torch::Tensor& x) {
  return x.to(torch::kBFloat16).to(x.scalar_type());
}

/// The greatest magnitude over 127 along the last dimension, in float32 as the kernels find it.
torch::Tensor step_of(const torch::Tensor& x) {
  const auto greatest = x.abs().amax(-1, true);
  return torch::where(greatest > 0, greatest / 127, torch::ones_like(greatest));
}

/// The quantised product itself, in float64.
torch::Tensor reference(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias) {
  const auto rows = on_bfloat16(x), row_step = step_of(rows), channel_step = step_of(weight);
  const auto a = torch::round(rows.to(torch::kDouble) * (1 / row_step)), w = torch::round(weight / channel_step);
  const auto product =
      torch::matmul(a, w.to(torch::kDouble).t()) * row_step.to(torch::kDouble) * channel_step.to(torch::kDouble).t();
  return bias.defined() ? product + bias.to(torch::kDouble) : product;
}

/// A bound on the rounding of sums and scales in float32.
torch::Tensor rounding(const torch::Tensor& expected) {
  return (expected.abs() + expected.abs().amax()) * 4e-6;
}

class Int8Linear : public ::testing::TestWithParam<CpuLimit> {
 protected:
  const WithCpuLimit limit_{GetParam()};
  const torch::NoGradGuard no_grad_;
};

TEST_P(Int8Linear, IsTheProductOfTheQuantisedOperands) {
  torch::manual_seed(3);
  const std::vector<std::array<std::int64_t, 3>> shapes = {{1, 1, 1},     {7, 64, 32},   {33, 100, 47}, {16, 512, 96},
                                                           {300, 63, 17}, {257, 65, 33}, {40, 2048, 64}};
  for (const auto& [rows, inputs, outputs] : shapes) {
    SCOPED_TRACE(::testing::Message() << rows << " x " << inputs << " to " << outputs);
    const auto x = torch::randn({rows, inputs}), weight = torch::randn({outputs, inputs}) * 0.1;
    const auto bias = torch::randn({outputs}), residual = torch::randn({rows, outputs});
    PackedWeight kept;
    const auto expected = reference(x, weight, bias);
    const auto bound = rounding(expected);
    EXPECT_TRUE(is_within(linear_unrounded(x, weight, bias, Precision::int8, &kept), expected, bound));
    EXPECT_TRUE(is_within(linear_unrounded(x, weight, {}, Precision::int8, &kept), reference(x, weight, {}), bound));
    const auto rounded = linear(x, weight, bias, Precision::int8, &kept);
    EXPECT_EQ(rounded.scalar_type(), torch::kBFloat16);
    EXPECT_TRUE(is_within(rounded, expected, bound));
    EXPECT_TRUE(is_within(linear_add(x, weight, bias, residual, Precision::int8, &kept),
                          expected + residual.to(torch::kDouble), bound + 1e-6));
    const auto gelu = linear_gelu(x, weight, bias, Precision::int8, &kept).to(torch::kDouble);
    EXPECT_LT((gelu - torch::gelu(expected)).abs().max().item<double>(),
              0.01 * (1 + expected.abs().max().item<double>()));
  }
}

TEST_P(Int8Linear, WhatIsNoNumberIsNotLost) {
  auto x = torch::ones({3, 70});
  x[1][5] = NAN;
  const auto y = linear_unrounded(x, torch::ones({40, 70}), {}, Precision::int8);
  EXPECT_TRUE(y[1].isnan().all().item<bool>());
  EXPECT_FALSE(y[0].isnan().any().item<bool>() || y[2].isnan().any().item<bool>());
}

TEST_P(Int8Linear, IsExactWhereTheOperandsAreSteps) {
  torch::manual_seed(4);
  const auto steps = [](std::int64_t rows, std::int64_t columns) {
    auto values = torch::randint(-127, 128, {rows, columns}).to(torch::kFloat);
    values.select(1, 0).fill_(127);  // the scale is 1
    return values;
  };
  const auto x = steps(21, 130), weight = steps(35, 130);
  const auto product = linear_unrounded(x, weight, {}, Precision::int8);
  EXPECT_TRUE(product.equal(torch::matmul(x.to(torch::kDouble), weight.to(torch::kDouble).t()).to(torch::kFloat)));
}

TEST_P(Int8Linear, RowsAndChannelsOfZerosStayZero) {
  auto x = torch::randn({3, 70}), weight = torch::randn({5, 70});
  x[1].zero_();
  weight[2].zero_();
  const auto product = linear_unrounded(x, weight, {}, Precision::int8);
  EXPECT_EQ(product[1].abs().max().item<float>(), 0);
  EXPECT_EQ(product.select(1, 2).abs().max().item<float>(), 0);
  EXPECT_GT(product[0].abs().max().item<float>(), 0);
}

TEST_P(Int8Linear, AChangedWeightAndAnotherPrecisionArePackedAnew) {
  torch::manual_seed(5);
  const auto x = torch::randn({4, 64}), weight = torch::randn({32, 64});
  PackedWeight kept;
  const auto before = linear(x, weight, {}, Precision::int8, &kept);
  const auto low = linear(x, weight, {}, Precision::bfloat16, &kept);
  EXPECT_FALSE(low.equal(before));
  EXPECT_TRUE(linear(x, weight, {}, Precision::int8, &kept).equal(before));
  weight.mul_(-1);
  EXPECT_TRUE(linear(x, weight, {}, Precision::int8, &kept).equal(-before));
}

TEST_P(Int8Linear, HasNoGradient) {
  const torch::AutoGradMode with_gradients(true);
  const auto weight = torch::randn({3, 4}).requires_grad_();
  EXPECT_THROW(linear(torch::randn({2, 4}), weight, {}, Precision::int8), Error);
}

INSTANTIATE_TEST_SUITE_P(, Int8Linear,
                         ::testing::Values(CpuLimit::plain, CpuLimit::avx2, CpuLimit::avx_vnni, CpuLimit::avx512,
                                           CpuLimit::amx),
                         [](const auto& limit) { return name_of(limit.param); });

}  // namespace int8_test
}  // namespace tessera
