#include "kernels/ops/transformer_blocks.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "kernels/closeness.h"
#include "runtime/error.h"

namespace tessera {
namespace transformer_blocks_test {

constexpr double kEpsilon = 1e-5;

struct Layer {
  Layer(std::int64_t inputs, std::int64_t outputs)
      : weight(torch::randn({outputs, inputs}) / std::sqrt(static_cast<double>(inputs))),
        bias(torch::randn({outputs}) * 0.1) {}
  torch::Tensor weight, bias;
  PackedWeight alone, together;

  TransformerBlock::Dense parameters() { return {weight, bias, &together}; }
};

struct Norm {
  explicit Norm(std::int64_t width) : weight(1 + 0.1 * torch::randn({width})), bias(0.1 * torch::randn({width})) {}
  torch::Tensor weight, bias;

  TransformerBlock::Norm parameters() const { return {weight, bias}; }
  torch::Tensor operator()(const torch::Tensor& x, Precision precision) const {
    return layer_norm(x, weight, bias, kEpsilon, of_activations(precision));
  }
};

struct Block {
  Block(std::int64_t width, std::int64_t hidden)
      : norm1(width),
        norm2(width),
        qkv(width, 3 * width),
        output(width, width),
        up(width, hidden),
        down(hidden, width) {}

  TransformerBlock parameters() {
    return {norm1.parameters(), qkv.parameters(), output.parameters(),
            norm2.parameters(), up.parameters(),  down.parameters()};
  }

  /// Operation by operation.
  torch::Tensor operator()(const torch::Tensor& x, std::int64_t images, std::int64_t heads, bool causal,
                           Precision precision) {
    const auto width = x.size(1);
    const auto product = [&](const torch::Tensor& from, Layer& layer) {
      return linear(from, layer.weight, layer.bias, precision, &layer.alone);
    };
    const auto added = [&](const torch::Tensor& from, Layer& layer, const torch::Tensor& to) {
      return linear_add(from, layer.weight, layer.bias, to, precision, &layer.alone);
    };
    const auto all = product(norm1(x, precision), qkv).view({images, -1, 3 * width});
    const double scale = 1 / std::sqrt(static_cast<double>(width / heads));
    const auto context = attention_qkv(all, heads, scale, causal, precision).view({-1, width});
    const auto middle = added(context, output, x);
    const auto activated = linear_gelu(norm2(middle, precision), up.weight, up.bias, precision, &up.alone);
    return added(activated, down, middle);
  }

  Norm norm1, norm2;
  Layer qkv, output, up, down;
};

struct Sizes {
  std::int64_t images, cells, width, heads, hidden;
};

/// Two blocks of such sizes, and what goes through them.
struct Stack {
  explicit Stack(const Sizes& of) : sizes(of), x(torch::randn({of.images * of.cells, of.width})) {
    for (int i = 0; i < 2; ++i) blocks.push_back(std::make_unique<Block>(of.width, of.hidden));
  }

  std::vector<TransformerBlock> parameters() {
    std::vector<TransformerBlock> all;
    for (auto& block : blocks) all.push_back(block->parameters());
    return all;
  }
  torch::Tensor together(const torch::Tensor& input, std::int64_t images, bool causal, Precision precision) {
    const double scale = 1 / std::sqrt(static_cast<double>(sizes.width / sizes.heads));
    return transformer_blocks(input, images, sizes.heads, scale, causal, kEpsilon, precision, parameters());
  }
  torch::Tensor one_by_one(bool causal, Precision precision) {
    auto result = x;
    for (auto& block : blocks) result = (*block)(result, sizes.images, sizes.heads, causal, precision);
    return result;
  }
  bool applies(Precision precision) {
    return transformer_blocks_apply(x, sizes.images, sizes.heads, precision, parameters().front());
  }

  Sizes sizes;
  torch::Tensor x;
  std::vector<std::unique_ptr<Block>> blocks;
};

double root_mean_square(const torch::Tensor& x) {
  return x.to(torch::kDouble).square().mean().sqrt().item<double>();
}

class TransformerBlocks : public ::testing::TestWithParam<std::tuple<CpuLimit, Precision>> {
 protected:
  void SetUp() override {
    if (!Stack({1, 4, 64, 2, 64}).applies(precision_)) GTEST_SKIP() << "this processor computes them one by one";
  }

  const WithCpuLimit limit_{std::get<0>(GetParam())};
  const Precision precision_ = std::get<1>(GetParam());
  const torch::NoGradGuard no_grad_;
};

TEST_P(TransformerBlocks, AreWhatTheirOperationsGiveOneByOne) {
  torch::manual_seed(11);
  // One row, a part of a block of rows, several; shards of one head and more; a hidden layer in one piece and in
  // several.
  const std::vector<Sizes> all = {{1, 1, 64, 2, 64},     {1, 33, 64, 2, 256},   {3, 16, 128, 2, 512},
                                  {2, 64, 256, 4, 1024}, {1, 100, 192, 6, 768}, {1, 256, 512, 8, 2048},
                                  {1, 300, 128, 4, 64}};
  for (const auto& sizes : all) {
    for (const bool causal : {false, true}) {
      SCOPED_TRACE(::testing::Message() << sizes.images << " x " << sizes.cells << " cells, width " << sizes.width
                                        << ", " << sizes.heads << " heads, hidden " << sizes.hidden
                                        << (causal ? ", causal" : ""));
      Stack stack(sizes);
      ASSERT_TRUE(stack.applies(precision_));
      const auto given = stack.x.clone();
      const auto together = stack.together(stack.x, sizes.images, causal, precision_);
      EXPECT_TRUE(torch::equal(stack.x, given));
      const auto one_by_one = stack.one_by_one(causal, precision_),
                 exact = stack.one_by_one(causal, Precision::float32);
      ASSERT_EQ(together.sizes(), exact.sizes());
      // Both round the same values, in sums of another order: neither is further off than the other.
      const double error = root_mean_square(one_by_one - exact), change = root_mean_square(exact - stack.x);
      EXPECT_LE(root_mean_square(together - exact), 1.2 * error);
      EXPECT_LE(root_mean_square(together - one_by_one), 1.2 * error);
      EXPECT_LE(error, (precision_ == Precision::int8 ? 0.03 : 0.01) * change);
      EXPECT_GT(change, 0.5);
    }
  }
}

TEST_P(TransformerBlocks, OfAnImageDoNotDependOnTheOthersOrOnTheThreads) {
  torch::manual_seed(12);
  Stack stack({5, 80, 128, 4, 512});
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const auto one = stack.together(stack.x, 5, false, precision_), causal = stack.together(stack.x, 5, true, precision_);
  for (const int threads : {1, 2, 3, 4, 7}) {
    at::set_num_threads(threads);
    for (int repeat = 0; repeat < 3; ++repeat) {
      EXPECT_TRUE(torch::equal(stack.together(stack.x, 5, false, precision_), one)) << threads << " threads";
    }
    EXPECT_TRUE(torch::equal(stack.together(stack.x.narrow(0, 160, 80), 1, false, precision_), one.narrow(0, 160, 80)))
        << threads << " threads";
    EXPECT_TRUE(torch::equal(stack.together(stack.x.narrow(0, 80, 80), 1, true, precision_), causal.narrow(0, 80, 80)))
        << threads << " threads, causal";
  }
  at::set_num_threads(before);
}

TEST_P(TransformerBlocks, CausalOnesDoNotSeeWhatFollows) {
  torch::manual_seed(13);
  Stack stack({1, 70, 64, 2, 256});
  const auto before = stack.together(stack.x, 1, true, precision_);
  auto other = stack.x.clone();
  other.narrow(0, 40, 30).normal_();
  const auto after = stack.together(other, 1, true, precision_);
  EXPECT_TRUE(torch::equal(before.narrow(0, 0, 40), after.narrow(0, 0, 40)));
  EXPECT_FALSE(torch::equal(before.narrow(0, 40, 1), after.narrow(0, 40, 1)));
}

TEST_P(TransformerBlocks, SeeThatAWeightHasChanged) {
  torch::manual_seed(14);
  Stack stack({1, 32, 64, 2, 128});
  const auto before = stack.together(stack.x, 1, false, precision_);
  stack.blocks[1]->qkv.bias.add_(1);
  const auto with_bias = stack.together(stack.x, 1, false, precision_);
  EXPECT_FALSE(torch::equal(before, with_bias));
  stack.blocks[0]->down.weight.mul_(2);
  EXPECT_FALSE(torch::equal(with_bias, stack.together(stack.x, 1, false, precision_)));
}

INSTANTIATE_TEST_SUITE_P(Limits, TransformerBlocks,
                         ::testing::Combine(::testing::Values(CpuLimit::amx, CpuLimit::avx512),
                                            ::testing::Values(Precision::bfloat16, Precision::int8)));

TEST(TransformerBlocksApply, NeitherToGradientsNorToOtherShapesAndPrecisions) {
  Stack even({1, 4, 64, 2, 64}), odd_heads({1, 4, 96, 3, 64}), narrow_heads({1, 4, 64, 4, 64}),
      odd_hidden({1, 4, 64, 2, 96});
  {
    const torch::NoGradGuard no_grad;
    for (const auto precision : {Precision::bfloat16, Precision::int8}) {
      EXPECT_FALSE(odd_heads.applies(precision));
      EXPECT_FALSE(narrow_heads.applies(precision));
      EXPECT_FALSE(odd_hidden.applies(precision));
      const WithCpuLimit limit(CpuLimit::plain);
      EXPECT_FALSE(even.applies(precision));
    }
    EXPECT_FALSE(even.applies(Precision::float32));
    EXPECT_THROW(even.together(even.x, 1, false, Precision::float32), Error);
  }
  EXPECT_FALSE(even.applies(Precision::bfloat16));
}

}  // namespace transformer_blocks_test
}  // namespace tessera
