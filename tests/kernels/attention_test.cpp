#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <limits>
#include <vector>

#include "kernels/closeness.h"
#include "kernels/ops/layers.h"
#include "runtime/error.h"

namespace tessera {
namespace attention_test {

struct Case {
  int64_t images, queries, keys, heads, width;
  bool causal = false;
};

const std::vector<Case> kCases = {
    {2, 32, 32, 2, 32},    {1, 256, 256, 1, 64},       {2, 17, 17, 3, 20},      {1, 1, 1, 1, 1},
    {2, 33, 50, 2, 48},    {1, 40, 40, 2, 64, true},   {2, 7, 45, 1, 33, true}, {1, 70, 9, 2, 16},
    {1, 100, 100, 1, 160}, {1, 130, 150, 1, 32, true}, {1, 96, 129, 2, 96}};

torch::Tensor reference(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v, const Case& c,
                        double scale) {
  const auto split = [&](const torch::Tensor& t) {
    return t.reshape({t.size(0), t.size(1), c.heads, -1}).transpose(1, 2);
  };
  auto scores = torch::matmul(split(q), split(k).transpose(2, 3)) * scale;
  if (c.causal) {
    const auto hidden = torch::ones({c.queries, c.keys}, torch::kBool).triu(c.keys - c.queries + 1);
    scores = scores.masked_fill(hidden, -std::numeric_limits<double>::infinity());
  }
  return torch::matmul(torch::softmax(scores, -1), split(v)).transpose(1, 2).flatten(2);
}

/// Each weight p of the softmax is rounded once to bfloat16 (2^-8) and carries the error of the exponential (5e-5) and
/// of float32 scores; sum p = 1, so an output differs by at most that share of max |v|. In dS = p (dP - inner), `inner`
/// is computed from rounded outputs: its error is the output's times the length of dO. Gradients are bounded by the
/// sizes of the terms they sum.
void check(const Case& c, Precision precision, torch::ScalarType dtype) {
  SCOPED_TRACE(::testing::Message() << c.images << " images, " << c.queries << " queries, " << c.keys << " keys, "
                                    << c.heads << " heads of " << c.width << ", causal " << c.causal << ", " << dtype);
  torch::manual_seed(21);
  const int64_t features = c.heads * c.width;
  const double scale = 1 / std::sqrt(double(c.width));
  const auto make = [&](int64_t cells) { return torch::randn({c.images, cells, features}).to(dtype).requires_grad_(); };
  auto q = make(c.queries), k = make(c.keys), v = make(c.keys);
  const auto y = attention(q, k, v, c.heads, scale, c.causal, precision);
  const auto g = torch::randn(y.sizes()).to(y.scalar_type());
  const bool low = precision == Precision::bfloat16;
  EXPECT_EQ(y.scalar_type(), low ? torch::kBFloat16 : torch::kFloat);
  const auto as64 = [&](const torch::Tensor& t) {
    return (low ? t.detach().to(torch::kBFloat16) : t.detach()).to(torch::kDouble).requires_grad_();
  };
  auto q64 = as64(q), k64 = as64(k), v64 = as64(v);
  const auto y64 = reference(q64, k64, v64, c, scale);
  const auto r64 = torch::autograd::grad({y64}, {q64, k64, v64}, {g.to(torch::kDouble)});
  const double share = low ? 0x1p-8 + 2e-4 : 0x1p-24 * double(c.width + c.keys + 16);
  const double largest = v64.abs().max().item<double>();
  EXPECT_TRUE(is_within(y, y64, torch::full({}, share * largest)));
  // dP and inner: |dO . v| <= |dO| |v|, so dS has the error (3 share) p |dO| |v|, and dQ = scale dS K sums it against
  // |k|.
  const double upper = g.to(torch::kDouble).reshape({-1, c.width}).norm(2, 1).max().item<double>();
  const double value = v64.detach().reshape({c.images, c.keys, c.heads, c.width}).norm(2, 3).max().item<double>();
  const double error_q = 4 * share * upper * value * scale * k64.abs().max().item<double>();
  // dK and dV sum over queries: the column sums of the weights bound the growth.
  const auto ones = torch::ones({c.images, c.keys, features}, torch::kDouble);
  auto probe = torch::zeros_like(ones).requires_grad_();
  const auto column = torch::autograd::grad({reference(q64.detach(), k64.detach(), probe, c, scale)}, {probe},
                                            {torch::ones({c.images, c.queries, features}, torch::kDouble)})[0];
  const double heaviest = column.max().item<double>();
  const double error_k = 4 * share * upper * value * scale * q64.abs().max().item<double>() * heaviest;
  const double error_v = share * g.abs().max().item<double>() * heaviest;
  for (int repeat = 0; repeat < 2; ++repeat) {
    const auto r = torch::autograd::grad({y}, {q, k, v}, {g}, true);
    EXPECT_EQ(r[0].scalar_type(), dtype);
    EXPECT_TRUE(is_within(r[0], r64[0], torch::full({}, error_q)));
    EXPECT_TRUE(is_within(r[1], r64[1], torch::full({}, error_k)));
    EXPECT_TRUE(is_within(r[2], r64[2], torch::full({}, error_v) + r64[2].abs() * (low ? 0x1p-8 : 0.)));
    // The bound is loose where few weights are large; on the whole the gradients must agree far better.
    for (int i = 0; i < 3; ++i) {
      const double scale_of = r64[i].norm().item<double>();
      EXPECT_LE((r[i].to(torch::kDouble) - r64[i]).norm().item<double>(),
                (low ? 0.01 : 1e-5) * scale_of + 1e-6 + (low ? 1e-2 : 0.) * (c.keys == 1));
    }
  }
}

TEST(Attention, MatchesFloat64ForwardAndBackward) {
  for (const auto& c : kCases) {
    check(c, Precision::bfloat16, torch::kBFloat16);
    check(c, Precision::bfloat16, torch::kFloat);
    check(c, Precision::float32, torch::kFloat);
  }
}

TEST(Attention, IsTheSameForSeparateAndJoinedQueriesKeysAndValues) {
  torch::manual_seed(22);
  const auto values = torch::randn({2, 37, 3 * 64}).to(torch::kBFloat16), g = torch::randn({2, 37, 64});
  for (const auto precision : {Precision::bfloat16, Precision::float32}) {
    const bool low = precision == Precision::bfloat16;
    const auto qkv = values.to(low ? torch::kBFloat16 : torch::kFloat).requires_grad_();
    const auto joined = attention_qkv(qkv, 2, 0.2, false, precision);
    const auto parts = qkv.chunk(3, 2);
    const auto apart = attention(parts[0], parts[1], parts[2], 2, 0.2, false, precision);
    const auto a = torch::autograd::grad({joined}, {qkv}, {g.to(joined.scalar_type())})[0];
    const auto b = torch::autograd::grad({apart}, {qkv}, {g.to(apart.scalar_type())})[0];
    // Where both take the tiles they are the same operations; LibTorch's products only agree to their rounding.
    if (low && cpu_has_avx512_bf16()) {
      EXPECT_TRUE(torch::equal(joined, apart));
      EXPECT_TRUE(torch::equal(a, b));
    } else if (!low) {
      EXPECT_TRUE(torch::allclose(joined, apart, 1e-5, 1e-5));
      EXPECT_TRUE(torch::allclose(a, b, 1e-5, 1e-5));
    }
  }
}

TEST(Attention, StaysFiniteForScoresFarApart) {
  auto q = torch::full({1, 16, 32}, 60.).requires_grad_();
  auto k = torch::randn({1, 16, 32}) * 60;
  auto v = torch::randn({1, 16, 32});
  const auto y = attention(q, k, v, 1, 1, false, Precision::bfloat16);
  EXPECT_TRUE(y.isfinite().all().item<bool>());
  EXPECT_TRUE(torch::autograd::grad({y.sum()}, {q})[0].isfinite().all().item<bool>());
}

TEST(Attention, FindsTheGreatestScoreWhereverItLies) {
  // What is taken from a query's scores before their exponential is decided by the first keys: here later ones lie up
  // to 300 above them, some queries' within reach of float32 and some out of it.
  if (!cpu_has_avx512_bf16()) GTEST_SKIP() << "LibTorch rounds scores to bfloat16: at 300 by more than one";
  torch::manual_seed(23);
  const Case c{1, 64, 200, 1, 32};
  auto q = torch::randn({1, c.queries, c.width}), k = torch::randn({1, c.keys, c.width}) * 0.5,
       v = torch::randn({1, c.keys, c.width});
  q.select(2, 0) = torch::linspace(-30, 30, c.queries);
  k.select(2, 0) = torch::linspace(0, 10, c.keys);
  const auto low = [](const torch::Tensor& t) { return t.to(torch::kBFloat16).to(torch::kDouble); };
  const auto y = attention(q, k, v, 1, 1, false, Precision::bfloat16);
  const auto expected = reference(low(q), low(k), low(v), c, 1);
  EXPECT_TRUE(is_within(y, expected, torch::full({}, (0x1p-7 + 2e-4) * v.abs().max().item<double>())));
}

TEST(Attention, KeepsWhatIsNoNumber) {
  auto q = torch::randn({1, 40, 32}), k = torch::randn({1, 80, 32}), v = torch::randn({1, 80, 32});
  q[0][3][5] = std::numeric_limits<float>::quiet_NaN();
  const auto y = attention(q, k, v, 1, 1, false, Precision::bfloat16);
  EXPECT_TRUE(y[0][3].isnan().all().item<bool>());
  EXPECT_TRUE(y[0].narrow(0, 4, 36).isfinite().all().item<bool>());
}

TEST(Attention, NamesShapesThatDoNotFit) {
  const auto x = torch::zeros({1, 4, 6});
  EXPECT_THROW(attention(x, x, x, 4, 1, false, Precision::bfloat16), Error);
  EXPECT_THROW(attention(x, torch::zeros({1, 4, 8}), x, 1, 1, false, Precision::bfloat16), Error);
  EXPECT_THROW(attention_qkv(torch::zeros({1, 4, 8}), 1, 1, false, Precision::bfloat16), Error);
}

}  // namespace attention_test
}  // namespace tessera
