#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <vector>

#include "kernels/closeness.h"
#include "kernels/ops/layers.h"
#include "kernels/ops/rms_norm.h"
#include "runtime/error.h"

namespace tessera {
namespace row_ops_test {

void check_layer_norm(const std::vector<int64_t>& shape, torch::ScalarType dtype, double mean,
                      Precision precision = Precision::float32) {
  SCOPED_TRACE(::testing::Message() << shape << ", " << dtype << ", mean " << mean);
  torch::manual_seed(11);
  const int64_t features = shape.back();
  auto x = (torch::randn(shape) + mean).to(dtype).requires_grad_();
  auto w = torch::randn({features}).requires_grad_(), b = torch::randn({features}).requires_grad_();
  const auto y = layer_norm(x, w, b, 1e-5, precision);
  EXPECT_EQ(y.scalar_type(), precision == Precision::bfloat16 ? torch::kBFloat16 : dtype);
  const auto g = torch::randn(shape).to(y.scalar_type());
  auto x64 = x.detach().to(torch::kDouble).requires_grad_();
  auto w64 = w.detach().to(torch::kDouble).requires_grad_(), b64 = b.detach().to(torch::kDouble).requires_grad_();
  const auto y64 = torch::layer_norm(x64, {features}, w64, b64, 1e-5);
  const auto r64 = torch::autograd::grad({y64}, {x64, w64, b64}, {g.to(torch::kDouble)});
  // A normalised value carries the rounding of x - m and of the mean (a sum of C / 16 terms in each lane): (|m| + a
  // few) r (4 + C / 16) u.
  const double u = 0x1p-24, rows = double(x.numel() / features);
  const double r = x64.detach().var(-1, false).add(1e-5).rsqrt().max().item<double>();
  const double one = u * (8 + double(features) / 16) * (1 + (std::abs(mean) + 5) * r),
               wide = 1 + w64.abs().max().item<double>();
  EXPECT_TRUE(is_within(y, y64, torch::full({}, one * wide * 4)));
  for (int repeat = 0; repeat < 2; ++repeat) {
    const auto result = torch::autograd::grad({y}, {x, w, b}, {g}, true);
    EXPECT_TRUE(is_within(result[0], r64[0], torch::full({}, one * wide * r * 32)));
    EXPECT_TRUE(is_within(result[1], r64[1], torch::full({}, (one * 32 + rows * u * 8) * rows)));
    EXPECT_TRUE(is_within(result[2], r64[2], torch::full({}, rows * rows * u * 4)));
  }
}

TEST(LayerNorm, MatchesFloat64ForwardAndBackward) {
  for (const auto dtype : {torch::kFloat, torch::kBFloat16}) {
    for (const auto& shape :
         std::vector<std::vector<int64_t>>{{4, 32}, {3, 7, 33}, {600, 96}, {1, 384}, {2, 3, 5, 17}, {5, 4}}) {
      check_layer_norm(shape, dtype, 0);
    }
    check_layer_norm({6, 256}, dtype, 50);
    check_layer_norm({300, 80}, dtype, 1, Precision::bfloat16);
  }
}

TEST(LayerNorm, AnEntryWithItsOwnWeightIsNormalisedAsIfItWereAlone) {
  torch::manual_seed(13);
  for (const auto precision : {Precision::float32, Precision::bfloat16}) {
    // Our kernel takes the rows one by one; LibTorch's, without AVX-512, multiplies by the entries' weights apart.
    const auto is_same = [&](const torch::Tensor& a, const torch::Tensor& b) {
      const double rounding = precision == Precision::bfloat16 ? 0x1p-7 : 1e-5;
      return cpu_has_avx512_bf16() ? a.equal(b) : a.allclose(b, rounding, rounding);
    };
    for (const int64_t cells : {1, 7, 300}) {
      auto x = torch::randn({3, cells, 40}).requires_grad_();
      auto w = torch::randn({3, 40}).requires_grad_(), b = torch::randn({3, 40}).requires_grad_();
      const auto y = layer_norm(x, w, b, 1e-5, precision);
      const auto g = torch::randn({3, cells, 40}).to(y.scalar_type());
      const auto gradients = torch::autograd::grad({y}, {x, w, b}, {g});
      for (int64_t n = 0; n < 3; ++n) {
        const auto each = layer_norm(x[n], w[n], b[n], 1e-5, precision);
        EXPECT_TRUE(is_same(y[n], each));
        const auto own = torch::autograd::grad({each}, {x, w, b}, {g[n]});
        EXPECT_TRUE(is_same(gradients[0][n], own[0][n]));
        EXPECT_TRUE(torch::allclose(gradients[1][n], own[1][n], 1e-5, 1e-5));
        EXPECT_TRUE(torch::allclose(gradients[2][n], own[2][n], 1e-5, 1e-5));
      }
    }
  }
  const auto x = torch::randn({2, 5, 8}, torch::kDouble), w = torch::randn({2, 8}, torch::kDouble);
  EXPECT_TRUE(torch::allclose(layer_norm(x, w, w, 1e-5)[1], torch::layer_norm(x[1], {8}, w[1], w[1], 1e-5)));
}

TEST(LayerNorm, ReadsStridedInput) {
  torch::manual_seed(12);
  const auto x = torch::randn({3, 40, 5}).to(torch::kBFloat16).transpose(1, 2), w = torch::randn({40}),
             b = torch::randn({40});
  EXPECT_TRUE(torch::equal(layer_norm(x, w, b, 1e-5), layer_norm(x.contiguous(), w, b, 1e-5)));
}

TEST(LayerNorm, NamesShapesThatDoNotFit) {
  EXPECT_THROW(layer_norm(torch::zeros({2, 3}), torch::zeros({4}), torch::zeros({4}), 1e-5), Error);
}

torch::Tensor rms_of(const torch::Tensor& x, const torch::Tensor& gain, const torch::Tensor& shift) {
  auto unit = x / (x.square().mean(-1, true) + 1e-5).sqrt();
  if (gain.defined()) unit = unit * gain;
  return shift.defined() ? unit + shift : unit;
}

TEST(RmsNorm, MatchesFloat64) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(14);
  const auto wide = [](const torch::Tensor& t) { return t.defined() ? t.to(torch::kDouble) : t; };
  for (const auto& shape : std::vector<std::vector<int64_t>>{{4, 32}, {3, 7, 33}, {2, 257, 96}, {1, 384}, {5, 4}}) {
    for (const auto dtype : {torch::kFloat, torch::kBFloat16}) {
      const auto x = (torch::randn(shape) * 3).to(dtype);
      for (const auto& [gain, shift] : std::vector<std::pair<torch::Tensor, torch::Tensor>>{
               {{}, {}},
               {torch::randn({shape.back()}), {}},
               {torch::randn({shape.back()}), torch::randn({shape.back()})},
               {torch::randn({shape[0], shape.back()}), torch::randn({shape[0], shape.back()})}}) {
        for (const auto precision : {Precision::float32, Precision::bfloat16}) {
          const auto each = [&](const torch::Tensor& values) {
            if (!values.defined() || values.dim() == 1) return wide(values);
            auto sizes = std::vector<int64_t>(shape.size(), 1);
            sizes.front() = values.size(0);
            sizes.back() = values.size(1);
            return wide(values).view(sizes);
          };
          const auto y = rms_norm(x, gain, 1e-5, shift, precision);
          EXPECT_EQ(y.scalar_type(), precision == Precision::bfloat16 ? torch::kBFloat16 : torch::kFloat);
          // The sum of squares has C / 16 terms in a lane; a unit value is below sqrt(C).
          const double features = double(shape.back());
          const double bound = 0x1p-24 * (8 + features / 16) * std::sqrt(features) * 5;
          EXPECT_TRUE(is_within(y, rms_of(wide(x), each(gain), each(shift)), torch::full({}, bound)))
              << shape << ", " << dtype;
        }
      }
    }
  }
  EXPECT_THROW(rms_norm(torch::zeros({2, 3}), torch::zeros({4}), 1e-5), Error);
  EXPECT_THROW(rms_norm(torch::zeros({2, 3}), torch::zeros({3, 3}), 1e-5), Error);
}

TEST(RmsNorm, ReadsRowsThatLieApartAndHasGradients) {
  torch::manual_seed(15);
  const auto wide = torch::randn({6, 80}).to(torch::kBFloat16);
  const auto part = wide.slice(1, 16, 56);
  {
    const torch::NoGradGuard no_grad;
    EXPECT_TRUE(rms_norm(part, {}, 1e-5, {}, Precision::bfloat16)
                    .equal(rms_norm(part.contiguous(), {}, 1e-5, {}, Precision::bfloat16)));
  }
  auto x = torch::randn({2, 3, 8}, torch::kDouble).requires_grad_();
  auto gain = torch::randn({2, 8}, torch::kDouble).requires_grad_();
  const auto ours = torch::autograd::grad({rms_norm(x, gain, 1e-5).square().sum()}, {x, gain});
  const auto theirs = torch::autograd::grad({rms_of(x, gain.unsqueeze(1), {}).square().sum()}, {x, gain});
  EXPECT_TRUE(torch::allclose(ours[0], theirs[0]));
  EXPECT_TRUE(torch::allclose(ours[1], theirs[1]));
}

TEST(RmsNorm, OfAGatedSumIsTheSumAndItsNorm) {
  torch::manual_seed(16);
  for (const bool inference : {true, false}) {
    const torch::AutoGradMode mode(!inference);
    for (const auto precision : {Precision::float32, Precision::bfloat16}) {
      const auto x = torch::randn({2, 37, 50}), added = torch::randn({2, 37, 50});
      const auto gate = torch::randn({2, 50}), gain = torch::randn({2, 50}), shift = torch::randn({2, 50});
      const auto d = [](const torch::Tensor& t) { return t.to(torch::kDouble); };
      const auto sum = d(x) + d(gate).unsqueeze(1) * d(added);
      const auto norm = rms_of(sum, d(gain).unsqueeze(1), d(shift).unsqueeze(1));
      const auto both = rms_norm_of_gated_sum(x.clone(), gate, added, gain, 1e-5, shift, precision);
      EXPECT_TRUE(is_within(both.sum, sum, torch::full({}, 0x1p-24 * 20)));
      EXPECT_TRUE(is_within(both.norm, norm, torch::full({}, 0x1p-24 * 500)));
    }
  }
  EXPECT_THROW(
      rms_norm_of_gated_sum(torch::zeros({2, 3}), torch::zeros({3}), torch::zeros({1, 3}), torch::zeros({3}), 1e-5, {}),
      Error);
}

TEST(GatedActivation, MatchesFloat64) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(17);
  for (const auto activation : {Gated::silu, Gated::gelu}) {
    for (const auto dtype : {torch::kFloat, torch::kBFloat16}) {
      const auto both = (torch::randn({2, 19, 66}) * 4).to(dtype);
      const auto gate = both.slice(2, 0, 33), factor = both.slice(2, 33, 66);  // rows lie apart
      const auto wide = gate.to(torch::kDouble);
      const auto activated = activation == Gated::silu ? torch::silu(wide) : torch::gelu(wide);
      const auto expected = activated * factor.to(torch::kDouble);
      // 2e-4 of what is rounded, and LibTorch's own two roundings where the kernel does not apply.
      const double error = dtype == torch::kFloat ? 1e-6 : cpu_has_avx512_bf16() ? 3e-4 : 0x1p-7;
      EXPECT_TRUE(
          is_within(gated_activation(activation, gate, factor), expected,
                    expected.abs() * error + factor.to(torch::kDouble).abs() * (dtype == torch::kFloat ? 1e-6 : 3e-5)));
    }
  }
  EXPECT_THROW(gated_activation(Gated::silu, torch::zeros({2, 3}), torch::zeros({2, 4})), Error);
}

TEST(Gelu, MatchesFloat64OverTheWholeRange) {
  auto x = torch::cat({torch::linspace(-12, 12, 40001), torch::zeros({1})}).to(torch::kBFloat16).requires_grad_();
  const auto g = torch::linspace(-3, 3, 40002).to(torch::kBFloat16);
  auto x64 = x.detach().to(torch::kDouble).requires_grad_();
  const auto y64 = torch::gelu(x64);
  const auto d64 = torch::autograd::grad({y64}, {x64}, {g.to(torch::kDouble)})[0];
  const auto y = gelu_activation(x);
  const auto size = x64.detach().abs(), tail = 0.5 * torch::erfc(size / std::sqrt(2.0));
  const double cancelled = cpu_has_avx512_bf16() ? 0 : 0x1p-23;  // LibTorch adds 1 to erf in float32
  // Rounding to bfloat16 alone may cost 2e-3 |y|. The far tail is an absolute matter.
  EXPECT_TRUE(is_within(y, y64, size * (tail * 1e-4 + cancelled) + 1.4e-5));
  const auto near = (size < 3).to(torch::kBFloat16);
  EXPECT_TRUE(is_within(y * near, y64 * near, near * size * (tail * 3e-4 + cancelled) + 1e-8));
  for (int repeat = 0; repeat < 2; ++repeat) {
    const auto d = torch::autograd::grad({y}, {x}, {g}, true)[0];
    EXPECT_TRUE(is_within(d, d64, g.to(torch::kDouble).abs() * 1e-4));
  }
}

TEST(Gelu, KeepsInfinityAndNotANumber) {
  const auto x = torch::tensor({INFINITY, -100.f, NAN, 0.f}).to(torch::kBFloat16);
  const auto y = gelu_activation(x).to(torch::kFloat);
  EXPECT_EQ(y[0].item<float>(), INFINITY);
  EXPECT_NEAR(y[1].item<float>(), 0, 1e-8);
  EXPECT_TRUE(std::isnan(y[2].item<float>()));
  EXPECT_EQ(y[3].item<float>(), 0.f);
}

}  // namespace row_ops_test
}  // namespace tessera
