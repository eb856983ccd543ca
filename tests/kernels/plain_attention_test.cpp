#include "kernels/ops/plain_attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace tessera {
namespace plain_attention_test {

/// [N, L, 3, H, D], varied and of size about one.
torch::Tensor example(torch::IntArrayRef sizes, torch::Dtype dtype) {
  std::int64_t count = 1;
  for (const auto size : sizes) count *= size;
  return (torch::arange(count, torch::kFloat64) * 0.73).sin().mul(1.5).view(sizes).to(dtype);
}

double scale_of(const torch::Tensor& qkv) {
  return 1.0 / std::sqrt(static_cast<double>(qkv.size(4)));
}

torch::Tensor formula(const torch::Tensor& qkv, bool causal) {
  const auto parts = qkv.permute({2, 0, 3, 1, 4}).unbind(0);
  auto scores = torch::matmul(parts[0], parts[1].transpose(2, 3)) * scale_of(qkv);
  if (causal) {
    const auto hidden = torch::ones({qkv.size(1), qkv.size(1)}, torch::kBool).triu(1);
    scores = scores.masked_fill(hidden, -std::numeric_limits<double>::infinity());
  }
  return torch::matmul(torch::softmax(scores, -1), parts[2]).transpose(1, 2).flatten(2);
}

TEST(PlainAttention, EqualsThePlainFormulaInFloat64WithItsGradient) {
  // The second size is worked on in two pieces of different sizes.
  for (const auto& sizes : std::vector<std::vector<std::int64_t>>{{3, 7, 3, 2, 4}, {11, 128, 3, 4, 8}}) {
    for (const bool causal : {false, true})
      for (const std::int64_t keep_at_most : {0, 1 << 22}) {
        auto ours = example(sizes, torch::kFloat64).requires_grad_(true);
        auto reference = example(sizes, torch::kFloat64).requires_grad_(true);
        const auto got = plain_attention_qkv(ours, scale_of(ours), causal, keep_at_most);
        const auto want = formula(reference, causal);
        EXPECT_TRUE(torch::allclose(got, want, 1e-10, 1e-12)) << sizes << causal << keep_at_most;
        const auto weights = (torch::arange(got.numel(), torch::kFloat64) * 0.31).cos().view(got.sizes());
        (got * weights).sum().backward();
        (want * weights).sum().backward();
        EXPECT_TRUE(torch::allclose(ours.grad(), reference.grad(), 1e-9, 1e-11)) << sizes << causal << keep_at_most;
      }
  }
}

TEST(PlainAttention, InBfloat16StaysNearFloat32) {
  const std::vector<std::int64_t> sizes = {8, 64, 3, 4, 16};
  for (const bool causal : {false, true}) {
    auto low = example(sizes, torch::kBFloat16).requires_grad_(true);
    auto high = low.detach().to(torch::kFloat32).requires_grad_(true);
    const auto got = plain_attention_qkv(low, scale_of(low), causal);
    const auto want = plain_attention_qkv(high, scale_of(high), causal);
    // Rounded values of size 1.5: 2^-9 each for scores, weights and sums.
    EXPECT_LT((got.to(torch::kFloat32) - want).abs().max().item<double>(), 0.03);
    const auto weights = (torch::arange(got.numel(), torch::kFloat32) * 0.31).cos().view(got.sizes());
    (got * weights).sum().backward();
    (want * weights).sum().backward();
    const auto error = (low.grad().to(torch::kFloat32) - high.grad()).norm() / high.grad().norm();
    // Scores of up to 20 are rounded by up to 0.04, which is 4 % of a weight at worst.
    EXPECT_LT(error.item<double>(), 0.04);
  }
}

}  // namespace plain_attention_test
}  // namespace tessera
