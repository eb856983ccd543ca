#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <vector>

#include "kernels/closeness.h"
#include "kernels/ops/layers.h"
#include "runtime/error.h"

namespace tessera {
namespace linear_test {

void check(int64_t rows, int64_t inputs, int64_t outputs, bool with_bias, Precision precision,
           torch::ScalarType dtype) {
  SCOPED_TRACE(::testing::Message() << rows << " rows, " << inputs << " -> " << outputs << ", bias " << with_bias
                                    << ", " << dtype);
  torch::manual_seed(4);
  auto x = torch::randn({rows, inputs}).to(dtype).requires_grad_();
  auto w = torch::randn({outputs, inputs}).requires_grad_();
  auto b = with_bias ? torch::randn({outputs}).requires_grad_() : torch::Tensor();
  const auto y = linear(x, w, b, precision);
  const auto g = torch::randn(y.sizes()).to(y.scalar_type());
  const bool low = precision == Precision::bfloat16;
  EXPECT_EQ(y.scalar_type(), low ? torch::kBFloat16 : torch::kFloat);
  const auto as64 = [&](const torch::Tensor& t) {
    return low ? t.detach().to(torch::kBFloat16).to(torch::kDouble) : t.detach().to(torch::kDouble);
  };
  const auto x64 = as64(x), w64 = as64(w), g64 = g.to(torch::kDouble);
  const auto b64 = with_bias ? b.detach().to(torch::kDouble) : torch::zeros({outputs}, torch::kDouble);
  // n terms: at most n roundings of partial sums, each below 2^-24 of the sum of magnitudes.
  const double u = 0x1p-24;
  EXPECT_TRUE(
      is_within(y, x64.mm(w64.t()) + b64, (x64.abs().mm(w64.t().abs()) + b64.abs()) * (double(inputs + 1) * u)));
  std::vector<torch::Tensor> of = {x, w};
  if (with_bias) of.push_back(b);
  for (int repeat = 0; repeat < 2; ++repeat) {
    const auto r = torch::autograd::grad({y}, of, {g}, true);
    const auto dx = g64.mm(w64);
    EXPECT_TRUE(is_within(r[0], dx, g64.abs().mm(w64.abs()) * (double(outputs) * u) + dx.abs() * (low ? 0x1p-8 : 0.)));
    EXPECT_TRUE(is_within(r[1], g64.t().mm(x64), g64.abs().t().mm(x64.abs()) * (double(rows) * u)));
    if (with_bias && (!low || cpu_has_avx512_bf16())) {
      EXPECT_TRUE(is_within(r[2], g64.sum(0), g64.abs().sum(0) * (double(rows) * u)));
    }
  }
}

TEST(Linear, MatchesFloat64ForwardAndBackward) {
  struct Shape {
    int64_t rows, inputs, outputs;
  };
  for (const auto& s :
       {Shape{16, 32, 32}, {1, 1, 1}, {7, 5, 3}, {300, 96, 40}, {1030, 33, 65}, {513, 256, 100}, {15, 64, 1}}) {
    for (const bool bias : {true, false}) {
      check(s.rows, s.inputs, s.outputs, bias, Precision::bfloat16, torch::kBFloat16);
      check(s.rows, s.inputs, s.outputs, bias, Precision::bfloat16, torch::kFloat);
      check(s.rows, s.inputs, s.outputs, bias, Precision::float32, torch::kFloat);
    }
  }
}

TEST(Linear, TakesAnyNumberOfLeadingSizesAndStridedInput) {
  torch::manual_seed(8);
  const auto whole = torch::randn({3, 2, 40, 7}).to(torch::kBFloat16);
  const auto x = whole.transpose(2, 3), w = torch::randn({24, 40}), b = torch::randn({24});
  const auto y = linear(x, w, b, Precision::bfloat16);
  EXPECT_EQ(y.sizes(), (std::vector<int64_t>{3, 2, 7, 24}));
  EXPECT_TRUE(torch::equal(y, linear(x.contiguous().view({-1, 40}), w, b, Precision::bfloat16).view(y.sizes())));
}

TEST(Linear, GivesTheGradientOfTheWeightAloneWithTheGraphKept) {
  torch::manual_seed(9);
  auto x = torch::randn({33, 64}).requires_grad_(), w = torch::randn({48, 64}).requires_grad_(),
       b = torch::randn({48}).requires_grad_();
  const auto y = linear(x, w, b, Precision::bfloat16).to(torch::kFloat).square().sum();
  const auto alone = torch::autograd::grad({y}, {w}, {}, true)[0];
  EXPECT_TRUE(torch::equal(alone, torch::autograd::grad({y}, {x, w, b}, {}, true)[1]));
}

TEST(Linear, WithGeluIsLinearThenGelu) {
  torch::manual_seed(10);
  auto x = torch::randn({3, 70, 96}).to(torch::kBFloat16).requires_grad_();
  auto w = torch::randn({72, 96}).requires_grad_(), b = torch::randn({72}).requires_grad_();
  const auto g = torch::randn({3, 70, 72}).to(torch::kBFloat16);
  const auto fused = linear_gelu(x, w, b, Precision::bfloat16);
  const auto apart = gelu_activation(linear(x, w, b, Precision::bfloat16));
  if (cpu_has_avx512_bf16()) {
    // The product is not rounded on its way: the sum's error goes into a function of slope 1.13 at most, whose own
    // error is that of gelu_activation.
    const auto x64 = x.detach().flatten(0, 1).to(torch::kDouble), b64 = b.detach().to(torch::kDouble),
               w64 = w.detach().to(torch::kBFloat16).to(torch::kDouble);
    const auto sum = x64.mm(w64.t()) + b64, tail = 0.5 * torch::erfc(sum.abs() / std::sqrt(2.0));
    const auto of_sum = (x64.abs().mm(w64.t().abs()) + b64.abs()) * (97 * 0x1p-24);
    EXPECT_TRUE(is_within(fused.flatten(0, 1), torch::gelu(sum), 1.13 * of_sum + sum.abs() * tail * 1e-4 + 1.4e-5));
  } else {
    EXPECT_TRUE(torch::equal(fused, apart));
  }
  for (int repeat = 0; repeat < 2; ++repeat) {
    const auto of_fused = torch::autograd::grad({fused}, {x, w, b}, {g}, true);
    const auto of_apart = torch::autograd::grad({apart}, {x, w, b}, {g}, true);
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(torch::equal(of_fused[i], of_apart[i])) << i;
  }
  const auto x32 = x.detach().to(torch::kFloat);
  EXPECT_TRUE(
      torch::equal(linear_gelu(x32, w, b, Precision::float32), torch::gelu(linear(x32, w, b, Precision::float32))));
}

TEST(Linear, AddsOntoAResidualWhatItAddsToOne) {
  torch::manual_seed(14);
  for (const auto precision : {Precision::float32, Precision::bfloat16, Precision::int8}) {
    for (const auto& leading : std::vector<std::vector<int64_t>>{{5}, {300}, {2, 33}}) {
      auto shape = leading;
      shape.push_back(96);
      const auto x = torch::randn(shape), w = torch::randn({72, 96}), b = torch::randn({72});
      shape.back() = 72;
      const auto residual = torch::randn(shape);
      const torch::NoGradGuard no_grad;
      const auto expected = linear_add(x, w, b, residual, precision);
      EXPECT_TRUE(linear_add_onto(x, w, b, residual.clone(), precision).equal(expected));
      EXPECT_TRUE(
          linear_add_onto(x, w, {}, residual.clone(), precision).equal(linear_add(x, w, {}, residual, precision)));
    }
  }
  const auto x = torch::randn({40, 64}), w = torch::randn({64, 64}).requires_grad_(), residual = torch::randn({40, 64});
  const auto before = residual.clone();
  const auto sum = linear_add_onto(x, w, {}, residual, Precision::bfloat16);
  EXPECT_TRUE(sum.requires_grad());
  EXPECT_TRUE(residual.equal(before));
  EXPECT_THROW(linear_add_onto(x, w, {}, residual.narrow(0, 0, 20), Precision::bfloat16), Error);
  const torch::NoGradGuard no_grad;
  EXPECT_THROW(linear_add_onto(x, w, {}, residual.narrow(0, 0, 20), Precision::bfloat16), Error);
}

TEST(Linear, AddsAFloat32ResidualWithoutRoundingTheProduct) {
  torch::manual_seed(13);
  for (const int64_t rows : {5, 64, 300}) {
    auto x = torch::randn({rows, 64}).to(torch::kBFloat16).requires_grad_();
    auto w = torch::randn({40, 64}).requires_grad_(), b = torch::randn({40}).requires_grad_();
    auto residual = torch::randn({rows, 40}).requires_grad_();
    const auto y = linear_add(x, w, b, residual, Precision::bfloat16);
    const auto x64 = x.detach().to(torch::kDouble), w64 = w.detach().to(torch::kBFloat16).to(torch::kDouble);
    const auto b64 = b.detach().to(torch::kDouble), r64 = residual.detach().to(torch::kDouble);
    EXPECT_EQ(y.scalar_type(), torch::kFloat);
    EXPECT_TRUE(is_within(y, x64.mm(w64.t()) + b64 + r64,
                          (x64.abs().mm(w64.t().abs()) + b64.abs() + r64.abs()) * (66 * 0x1p-24)));
    const auto g = torch::randn(y.sizes());
    const auto of_sum = torch::autograd::grad({y}, {x, w, b, residual}, {g}, true);
    const auto of_product =
        torch::autograd::grad({linear(x, w, b, Precision::bfloat16)}, {x, w, b}, {g.to(torch::kBFloat16)});
    for (int i = 0; i < 3; ++i) {
      const auto sum = of_sum[i].to(torch::kFloat), product = of_product[i].to(torch::kFloat);
      // Without the tiles the sum's gradient is not rounded on its way back, the product's is: half a bit in eight.
      const double rounding = cpu_has_avx512_bf16() ? 0 : 0x1p-8;
      EXPECT_LE((sum - product).norm().item<double>(), rounding * product.norm().item<double>()) << i;
    }
    EXPECT_TRUE(torch::equal(of_sum[3], g));
  }
}

TEST(Linear, NamesShapesThatDoNotFit) {
  EXPECT_THROW(linear(torch::zeros({2, 3}), torch::zeros({4, 5}), {}, Precision::bfloat16), Error);
  EXPECT_THROW(linear(torch::zeros({2, 5}), torch::zeros({4, 5}), torch::zeros({5}), Precision::bfloat16), Error);
}

TEST(Linear, UnroundedIsTheFloat32SumOfRoundedOperands) {
  torch::manual_seed(12);
  auto x = torch::randn({37, 96}).requires_grad_(), w = torch::randn({50, 96}).requires_grad_();
  const auto y = linear_unrounded(x, w, {}, Precision::bfloat16);
  EXPECT_EQ(y.scalar_type(), torch::kFloat);
  const auto low = [](const torch::Tensor& t) { return t.detach().to(torch::kBFloat16).to(torch::kDouble); };
  const auto x64 = low(x), w64 = low(w);
  EXPECT_TRUE(is_within(y, x64.mm(w64.t()), x64.abs().mm(w64.t().abs()) * (97 * 0x1p-24)));
  const auto g = torch::randn(y.sizes()).to(torch::kBFloat16).to(torch::kFloat);
  const auto r = torch::autograd::grad({y}, {x, w}, {g});
  const auto g64 = low(g);
  EXPECT_TRUE(is_within(r[0], g64.mm(w64), g64.abs().mm(w64.abs()) * (50 * 0x1p-24) + g64.mm(w64).abs() * 0x1p-8));
  EXPECT_TRUE(is_within(r[1], g64.t().mm(x64), g64.abs().t().mm(x64.abs()) * (37 * 0x1p-24)));
}

TEST(Linear, AKeptWeightIsPackedAgainAfterItChanged) {
  torch::manual_seed(13);
  const torch::NoGradGuard no_grad;
  const auto x = torch::randn({20, 64}), b = torch::randn({40});
  auto w = torch::randn({40, 64});
  PackedWeight kept;
  const auto fresh = [&] { return linear(x, w, b, Precision::bfloat16); };
  const auto cached = [&] { return linear(x, w, b, Precision::bfloat16, &kept); };
  EXPECT_TRUE(torch::equal(cached(), fresh()));
  EXPECT_TRUE(torch::equal(cached(), fresh()));
  w.add_(1);
  EXPECT_TRUE(torch::equal(cached(), fresh()));
  w = torch::randn({40, 64});
  EXPECT_TRUE(torch::equal(cached(), fresh()));
}

}  // namespace linear_test
}  // namespace tessera
