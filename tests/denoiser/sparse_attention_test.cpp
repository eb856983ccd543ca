/// Sparse attention against dense attention with a mask, and in the transformer.
#include "nn/sparse_attention.h"

#include <gtest/gtest.h>

#include <cmath>

#include "denoiser/transformer.h"
#include "runtime/error.h"

namespace tessera {
namespace sparse_attention_test {

struct Shape {
  std::int64_t height, width, block;
};

const std::vector<Shape> kShapes = {{8, 8, 4}, {6, 10, 4}, {4, 12, 3}, {5, 7, 2}, {1, 9, 3}, {6, 6, 8}};

/// seen[i][j]: whether cell i sees cell j.
torch::Tensor seen_by(const SparseAttention& sparse, std::int64_t cells) {
  auto seen = torch::zeros({cells, cells}, torch::kBool);
  const auto queries = sparse.queries(), keys = sparse.keys();
  for (std::int64_t group = 0; group < sparse.groups(); ++group) {
    for (std::int64_t i = 0; i < queries.size(1); ++i)
      seen[queries[group][i].item<std::int64_t>()].index_fill_(0, keys[group], true);
  }
  return seen;
}

torch::Tensor dense(const torch::Tensor& qkv, std::int64_t heads, double scale, const torch::Tensor& seen) {
  const auto parts = qkv.unflatten(2, {3, heads, -1}).permute({2, 0, 3, 1, 4}).unbind(0);
  const auto scores = (parts[0].matmul(parts[1].transpose(2, 3)) * scale).masked_fill(~seen, -1e30);
  return torch::softmax(scores, -1).matmul(parts[2]).transpose(1, 2).flatten(2);
}

TEST(SparseAttention, IsDenseAttentionOverWhatACellSees) {
  for (const auto& [height, width, block] : kShapes) {
    for (const auto pattern : {SparsePattern::local, SparsePattern::strided}) {
      SCOPED_TRACE(fmt::format("{}x{} blocks of {}", height, width, block));
      const SparseAttention sparse(height, width, block, pattern);
      torch::manual_seed(1);
      auto qkv = torch::randn({3, height * width, 24}).requires_grad_();
      const auto seen = seen_by(sparse, height * width);
      const auto found = sparse(qkv, 2, 0.5, Precision::float32), expected = dense(qkv, 2, 0.5, seen);
      EXPECT_TRUE(torch::allclose(found, expected, 1e-4, 1e-5));
      const auto weights = torch::randn_like(expected);
      const auto of_found = torch::autograd::grad({(found * weights).sum()}, {qkv}).front();
      const auto of_expected = torch::autograd::grad({(expected * weights).sum()}, {qkv}).front();
      EXPECT_TRUE(torch::allclose(of_found, of_expected, 1e-4, 1e-4));
    }
  }
}

TEST(SparseAttention, EveryCellHasSeenEveryOtherAfterBothPatterns) {
  for (const auto& [height, width, block] : kShapes) {
    const auto cells = height * width;
    const auto local = seen_by({height, width, block, SparsePattern::local}, cells).to(torch::kFloat32);
    const auto strided = seen_by({height, width, block, SparsePattern::strided}, cells).to(torch::kFloat32);
    EXPECT_TRUE(strided.matmul(local).gt(0).all().item<bool>()) << height << "x" << width << " blocks of " << block;
    EXPECT_TRUE(local.diagonal().eq(1).all().item<bool>() && strided.diagonal().eq(1).all().item<bool>());
  }
}

TEST(SparseAttention, ABlockSeesItsSurroundingsAndMovesInwardsAtTheEdge) {
  const SparseAttention sparse(16, 16, 4, SparsePattern::local);
  EXPECT_EQ(sparse.groups(), 16);
  EXPECT_EQ(sparse.keys().size(1), 64);  // 8x8
  const auto seen = seen_by(sparse, 256);
  const auto row_of = [](std::int64_t row, std::int64_t column) { return row * 16 + column; };
  EXPECT_TRUE(seen[row_of(5, 5)][row_of(2, 9)].item<bool>()) << "two cells around the block of rows 4 to 7";
  EXPECT_FALSE(seen[row_of(5, 5)][row_of(1, 5)].item<bool>());
  EXPECT_TRUE(seen[row_of(0, 0)][row_of(7, 7)].item<bool>()) << "moved inwards";
}

TransformerOptions sparse_options() {
  TransformerOptions options;
  options.codebook_size = 6;
  options.grid = {8, 8};
  options.layers = 3;
  options.heads = 2;
  options.width = 16;
  options.attention_block = 4;
  return options;
}

TEST(SparseTransformer, HasTheParametersOfADenseOneAndReadsItsConfiguration) {
  const auto options = sparse_options();
  auto dense_options = options;
  dense_options.attention_block = 0;
  EXPECT_EQ(transformer_shapes(options), transformer_shapes(dense_options));
  EXPECT_EQ(TransformerOptions::from_config(options.to_config()).attention_block, 4);
  EXPECT_FALSE(dense_options.to_config()["tessera"].contains("attention_block"));
  auto causal = options;
  causal.kind = TransformerKind::autoregressive;
  EXPECT_THROW(causal.validate(), Error);
}

TEST(SparseTransformer, OneBlockOfAllCellsIsTheDenseNetwork) {
  const torch::NoGradGuard no_grad;
  auto options = sparse_options();
  options.attention_block = 8;
  options.layers = 1;  // local over everything
  Transformer sparse(options, Initialisation::framework, 5);
  options.attention_block = 0;
  Transformer dense_one(options, Initialisation::framework, 5);
  sparse->eval();
  dense_one->eval();
  const auto tokens = torch::randint(0, 7, {2, 64});
  EXPECT_TRUE(torch::allclose(sparse->forward(tokens), dense_one->forward(tokens), 1e-4, 1e-5));
}

TEST(SparseTransformer, SomeCellsAreWhatAllGiveAndEveryCellIsReached) {
  Transformer network(sparse_options(), Initialisation::framework, 6);
  network->eval();
  const auto tokens = torch::randint(0, 7, {2, 64});
  const auto rows = torch::tensor({0, 63, 70, 127});
  {
    const torch::NoGradGuard no_grad;
    const auto all = network->forward(tokens).view({128, 6});
    EXPECT_TRUE(torch::allclose(network->logits_at(tokens, rows), all.index_select(0, rows), 1e-4, 1e-5));
    const auto evaluator = network->begin();
    EXPECT_TRUE(torch::allclose(evaluator->logits({tokens, rows}), all.index_select(0, rows), 1e-4, 1e-5));
    EXPECT_THROW((void)network->forward(tokens.slice(1, 0, 60)), Error);
  }
  // The logits of one cell move with the embedding of every position.
  for (auto& parameter : network->parameters()) parameter.set_requires_grad(true);
  network->logits_at(tokens.slice(0, 0, 1), torch::tensor({9})).sum().backward();
  for (const auto& item : network->named_parameters()) {
    if (item.key() != "position_embedding") continue;
    EXPECT_TRUE(item.value().grad().abs().sum(1).gt(0).all().item<bool>());
  }
}

TEST(SparseTransformer, DropoutIsDrawnAnewAndOnlyInTraining) {
  auto options = sparse_options();
  options.dropout = 0.3;
  Transformer network(options, Initialisation::framework, 6);
  const auto tokens = torch::randint(0, 7, {2, 64});
  network->train();
  network->seed_dropout(1);
  const auto first = network->forward(tokens);
  network->seed_dropout(1);
  EXPECT_TRUE(network->forward(tokens).equal(first));
  network->seed_dropout(2);
  EXPECT_FALSE(network->forward(tokens).equal(first));
  network->eval();
  EXPECT_TRUE(network->forward(tokens).equal(network->forward(tokens)));
}

}  // namespace sparse_attention_test
}  // namespace tessera
