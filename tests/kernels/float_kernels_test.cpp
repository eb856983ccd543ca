#include <gtest/gtest.h>
#include <torch/torch.h>

#include <array>
#include <cmath>
#include <vector>

#include "kernels/closeness.h"
#include "kernels/cpu/gemm/float_gemm.h"
#include "kernels/ops/layers.h"

namespace tessera {
namespace float_kernels_test {

constexpr double kRoundoff = 0x1p-24;

class FloatKernels : public ::testing::TestWithParam<CpuLimit> {
 protected:
  void SetUp() override {
    if (!float32::is_available()) GTEST_SKIP() << "no float32 kernels for this processor";
    torch::manual_seed(11);
  }
  const WithCpuLimit limit_{GetParam()};
  const torch::NoGradGuard no_grad_;
};

torch::Tensor wide(const torch::Tensor& x) {
  return x.to(torch::kDouble);
}

TEST_P(FloatKernels, LinearLayersAreThoseOfFloat64) {
  const std::vector<std::array<std::int64_t, 3>> shapes = {{1, 1, 1},      {7, 5, 3},      {15, 64, 1},
                                                           {33, 100, 47},  {300, 257, 40}, {513, 256, 96},
                                                           {64, 1024, 33}, {16, 512, 1536}};
  for (const auto& [rows, inputs, outputs] : shapes) {
    for (const bool with_bias : {true, false}) {
      SCOPED_TRACE(::testing::Message() << rows << " x " << inputs << " to " << outputs << ", bias " << with_bias);
      // Rows that lie apart, as a slice of wider ones.
      const auto x = torch::randn({rows, inputs + 3}).narrow(1, 1, inputs), weight = torch::randn({outputs, inputs}),
                 bias = with_bias ? torch::randn({outputs}) : torch::Tensor(), residual = torch::randn({rows, outputs});
      const auto shift = with_bias ? wide(bias) : torch::zeros({outputs}, torch::kDouble);
      const auto exact = wide(x).mm(wide(weight).t()) + shift;
      const auto bound = (wide(x).abs().mm(wide(weight).t().abs()) + shift.abs()) * (double(inputs + 2) * kRoundoff);
      PackedWeight prepacked;
      EXPECT_TRUE(is_within(linear(x, weight, bias, Precision::float32, &prepacked), exact, bound));
      EXPECT_TRUE(is_within(linear_unrounded(x, weight, bias, Precision::float32, &prepacked), exact, bound));
      const auto added = exact + wide(residual),
                 added_bound = bound + wide(residual).abs() * (double(inputs + 2) * kRoundoff);
      EXPECT_TRUE(is_within(linear_add(x, weight, bias, residual, Precision::float32, &prepacked), added, added_bound));
      auto onto = residual.clone();
      const auto result = linear_add_onto(x, weight, bias, onto, Precision::float32, &prepacked);
      EXPECT_EQ(result.data_ptr(), onto.data_ptr());
      EXPECT_TRUE(is_within(onto, added, added_bound));
      // GELU's slope is at most 1.13; its own error a few units of the last place of x.
      EXPECT_TRUE(is_within(linear_gelu(x, weight, bias, Precision::float32, &prepacked),
                            exact * 0.5 * (1 + torch::erf(exact * std::sqrt(0.5))), bound * 1.13 + exact.abs() * 4e-7));
    }
  }
}

TEST_P(FloatKernels, AWeightOfFloat16IsReadAsItsValue) {
  const auto x = torch::randn({9, 40}), weight = torch::randn({21, 40}).to(torch::kHalf);
  PackedWeight prepacked, other;
  EXPECT_TRUE(torch::equal(linear(x, weight, {}, Precision::float32, &prepacked),
                           linear(x, weight.to(torch::kFloat), {}, Precision::float32, &other)));
}

TEST_P(FloatKernels, ARowDependsNeitherOnItsNeighboursNorOnThreads) {
  const auto x = torch::randn({205, 300}), weight = torch::randn({70, 300}), bias = torch::randn({70});
  PackedWeight prepacked;
  const int threads = torch::get_num_threads();
  torch::set_num_threads(1);
  const auto whole = linear(x, weight, bias, Precision::float32, &prepacked);
  for (const std::int64_t rows : {1, 2, 13, 14, 15, 29, 100}) {
    EXPECT_TRUE(torch::equal(linear(x.narrow(0, 7, rows), weight, bias, Precision::float32, &prepacked),
                             whole.narrow(0, 7, rows)))
        << rows;
  }
  torch::set_num_threads(3);
  EXPECT_TRUE(torch::equal(linear(x, weight, bias, Precision::float32, &prepacked), whole));
  torch::set_num_threads(threads);
}

TEST_P(FloatKernels, AChangedWeightIsPackedAgain) {
  auto weight = torch::randn({5, 8});
  const auto x = torch::randn({3, 8});
  PackedWeight prepacked;
  const auto before = linear(x, weight, {}, Precision::float32, &prepacked);
  weight.mul_(-1);
  EXPECT_TRUE(torch::equal(linear(x, weight, {}, Precision::float32, &prepacked), -before));
}

TEST_P(FloatKernels, AttentionIsThatOfFloat64) {
  struct Shape {
    std::int64_t images, queries, keys, heads, width;
  };
  for (const auto& s :
       {Shape{1, 1, 1, 1, 1}, {2, 16, 16, 2, 8}, {1, 100, 100, 3, 20}, {2, 256, 256, 2, 64}, {1, 30, 77, 4, 33}}) {
    for (const bool causal : {false, true}) {
      SCOPED_TRACE(::testing::Message() << s.queries << " x " << s.keys << ", " << s.heads << " heads of " << s.width
                                        << ", causal " << causal);
      const auto features = s.heads * s.width;
      const auto q = torch::randn({s.images, s.queries, features}), k = torch::randn({s.images, s.keys, features}),
                 v = torch::randn({s.images, s.keys, 2 * features}).narrow(2, features, features);
      const auto split = [&](const torch::Tensor& t) {
        return wide(t).view({t.size(0), t.size(1), s.heads, s.width}).transpose(1, 2);
      };
      auto scores = torch::matmul(split(q), split(k).transpose(2, 3)) * 0.3;
      if (causal) {
        const auto hidden = torch::ones({s.queries, s.keys}, torch::kBool).triu(s.keys - s.queries + 1);
        scores = scores.masked_fill(hidden, -INFINITY);
      }
      const auto exact =
          torch::matmul(torch::softmax(scores, -1), split(wide(v).contiguous())).transpose(1, 2).flatten(2);
      const auto computed = attention(q, k, v, s.heads, 0.3, causal, Precision::float32);
      // Scores of a few dozen, off by as many roundings, move their exponentials by that share.
      EXPECT_TRUE(is_within(computed, exact, torch::full({}, 2e-5, torch::kDouble)));
      if (s.queries == s.keys) {
        EXPECT_TRUE(
            torch::equal(attention_qkv(torch::cat({q, k, v}, 2), s.heads, 0.3, causal, Precision::float32), computed));
      }
    }
  }
}

TEST_P(FloatKernels, AttentionKeepsWhatIsNoNumber) {
  auto qkv = torch::randn({1, 40, 3 * 16});
  qkv[0][21][16 + 3] = NAN;  // a key
  EXPECT_TRUE(attention_qkv(qkv, 1, 0.2, false, Precision::float32).isnan().all().item<bool>());
}

TEST_P(FloatKernels, AttentionStaysFiniteForScoresFarApart) {
  const auto q = torch::randn({1, 20, 32}) * 300, k = torch::randn({1, 50, 32}) * 300, v = torch::randn({1, 50, 32});
  const auto mixed = attention(q, k, v, 2, 1.0, false, Precision::float32);
  EXPECT_TRUE(mixed.isfinite().all().item<bool>());
  EXPECT_LE(mixed.abs().max().item<float>(), v.abs().max().item<float>());
}

INSTANTIATE_TEST_SUITE_P(, FloatKernels, ::testing::Values(CpuLimit::avx2, CpuLimit::avx512),
                         [](const auto& limit) { return name_of(limit.param); });

}  // namespace float_kernels_test
}  // namespace tessera
