/// Looks that take keys and values from an earlier, full look: the same function where nothing has changed, and what
/// they approximate elsewhere.
#include "denoiser/kept_context.h"

#include <gtest/gtest.h>

#include <functional>

#include "denoiser/guided_denoiser.h"
#include "denoiser/maskgit_transformer.h"
#include "denoiser/transformer.h"
#include "denoiser/uvit.h"
#include "runtime/error.h"

namespace tessera {
namespace kept_context_test {

constexpr std::int64_t kCodes = 7, kCells = 16;

struct Case {
  std::string name;
  std::shared_ptr<Denoiser> denoiser;
  std::vector<Condition> conditions;
  bool sees_time = false;
};

template <typename Network>
void draw_weights(Network& network) {
  const torch::NoGradGuard no_grad;
  torch::manual_seed(5);
  for (auto& parameter : network->parameters()) parameter.normal_(0, 0.4);
  network->eval();
}

Case maskgit(std::int64_t layers) {
  MaskGitOptions options;
  options.codebook_size = kCodes;
  options.grid = {4, 4};
  options.layers = layers;
  options.heads = 2;
  options.head_width = 8;
  options.width = 20;
  options.hidden = 24;
  options.classes = 3;
  options.registers = 1;
  MaskGitTransformer network(options);
  draw_weights(network);
  Condition condition;
  condition.label = 1;
  condition.scale = 2.5;
  return {"maskgit", std::make_shared<MaskGitDenoiser>(network), {condition}};
}

Case plain(std::int64_t layers) {
  TransformerOptions options;
  options.codebook_size = kCodes;
  options.grid = {4, 4};
  options.layers = layers;
  options.heads = 2;
  options.width = 16;
  Transformer network(options);
  draw_weights(network);
  return {"plain", network.ptr(), {}};
}

Case conditional(std::int64_t layers) {
  ConditionalOptions options;
  options.codebook_size = kCodes;
  options.grid = {4, 4};
  options.layers = layers;
  options.heads = 2;
  options.head_width = 8;
  options.total_steps = 10;
  options.condition_width = 12;
  ConditionalTransformer network(options);
  draw_weights(network);
  Condition condition;
  condition.states = torch::randn({3, 12});
  condition.null_states = torch::randn({3, 12});
  condition.scale = 2;
  return {"conditional", std::make_shared<GuidedDenoiser>(network, condition), {condition}, true};
}

Case uvit(bool halves) {
  UVitOptions options;
  options.codebook_size = kCodes;
  options.vocabulary = kCodes + 1;
  options.grid = {4, 4};
  options.embedding = options.channels = 12;
  options.blocks = 1;
  options.block_heads = 2;
  options.halves = halves;
  options.width = 16;
  options.layers = 2;
  options.heads = 2;
  options.hidden = 20;
  options.text_width = 10;
  options.pooled_width = 6;
  options.micro_width = 4;
  UVit network(options);
  draw_weights(network);
  Condition condition;
  condition.states = torch::randn({3, 10});
  condition.null_states = torch::randn({3, 10});
  condition.pooled = torch::randn({6});
  condition.null_pooled = torch::randn({6});
  condition.scale = 3;
  return {halves ? "uvit, halves" : "uvit", std::make_shared<UVitDenoiser>(network, condition), {condition}};
}

std::vector<Case> cases() {
  return {maskgit(3), plain(3), conditional(3), uvit(false), uvit(true)};
}

Look look_at(const Case& given, const torch::Tensor& tokens, const std::vector<std::int64_t>& rows) {
  Look look{tokens.unsqueeze(0), torch::tensor(rows)};
  if (given.sees_time) look.times = torch::tensor({4});
  look.conditions = {0};
  look.key = {9, 2};
  return look;
}

torch::Tensor keep(Evaluator& evaluator, const Look& look) {
  return dynamic_cast<ContextEvaluator&>(evaluator).logits_in_context(look, ContextUse::keep);
}

torch::Tensor reuse(Evaluator& evaluator, const Look& look) {
  return dynamic_cast<ContextEvaluator&>(evaluator).logits_in_context(look, ContextUse::reuse);
}

/// A grid of which half the cells are MASK.
torch::Tensor half_known() {
  auto tokens = torch::arange(kCells) * 3 % kCodes;
  tokens.slice(0, 1, kCells, 2).fill_(kCodes);
  return tokens;
}

const std::vector<std::int64_t> kSome = {1, 6, 7};

std::vector<std::int64_t> every_cell() {
  std::vector<std::int64_t> cells(kCells);
  for (std::int64_t i = 0; i < kCells; ++i) cells[static_cast<std::size_t>(i)] = i;
  return cells;
}

bool is_close(const torch::Tensor& a, const torch::Tensor& b) {
  return torch::allclose(a, b, 1e-4, 1e-4);
}

TEST(KeptContext, ALookThatFindsNoChangeIsTheFullOne) {
  const torch::NoGradGuard no_grad;
  for (const auto& given : cases()) {
    const auto evaluator = given.denoiser->begin(given.conditions);
    const auto tokens = half_known();
    const auto full = evaluator->logits(look_at(given, tokens, kSome));
    const auto kept = keep(*evaluator, look_at(given, tokens, kSome));
    EXPECT_TRUE(is_close(kept, full)) << given.name;
    for (int repeat = 0; repeat < 2; ++repeat) {  // what was kept is as it was
      EXPECT_TRUE(is_close(reuse(*evaluator, look_at(given, tokens, kSome)), full)) << given.name;
    }
  }
}

TEST(KeptContext, ALookAtEveryCellIsTheFullOneWhateverWasKept) {
  const torch::NoGradGuard no_grad;
  for (const auto& given : cases()) {
    const auto evaluator = given.denoiser->begin(given.conditions);
    auto tokens = half_known();
    (void)keep(*evaluator, look_at(given, tokens, kSome));
    tokens = (tokens + 1) % kCodes;
    const auto full = evaluator->logits(look_at(given, tokens, every_cell()));
    EXPECT_TRUE(reuse(*evaluator, look_at(given, tokens, every_cell())).equal(full)) << given.name;
  }
}

TEST(KeptContext, InANetworkOfOneBlockNothingIsApproximated) {
  // Keys and values of its only block follow from each place's own embedding.
  const torch::NoGradGuard no_grad;
  for (const auto& given : {maskgit(1), plain(1), conditional(1)}) {
    auto tokens = half_known();
    const auto evaluator = given.denoiser->begin(given.conditions);
    (void)keep(*evaluator, look_at(given, tokens, {1}));
    tokens[3] = 2;
    tokens[8] = kCodes;
    const auto full = evaluator->logits(look_at(given, tokens, kSome));
    const auto cheap = reuse(*evaluator, look_at(given, tokens, kSome));
    EXPECT_TRUE(is_close(cheap, full)) << given.name;
  }
}

TEST(KeptContext, WhatHasChangedIsSeenAndTheRestIsAsItWas) {
  const torch::NoGradGuard no_grad;
  for (const auto& given : cases()) {
    const auto evaluator = given.denoiser->begin(given.conditions);
    const auto before = half_known();
    const auto first = keep(*evaluator, look_at(given, before, kSome));
    double approximated = 0, unseen = 0;  // squared distances from full looks
    for (const std::int64_t cell : {3, 5, 9, 11, 13, 15}) {
      for (const std::int64_t token : {0, 2, 5}) {
        auto tokens = before.clone();
        tokens[cell] = token;
        const auto cheap = reuse(*evaluator, look_at(given, tokens, kSome));
        const auto full = evaluator->logits(look_at(given, tokens, kSome));
        EXPECT_FALSE(is_close(cheap, first)) << given.name << ": the new token is not seen";
        approximated += (cheap - full).square().sum().item<double>();
        unseen += (first - full).square().sum().item<double>();
      }
    }
    EXPECT_GT(approximated, 1e-6) << given.name << ": nothing was approximated";
    EXPECT_LT(approximated, unseen) << given.name << ": no nearer to the full looks than without the tokens";
    // A look does not move what was kept.
    EXPECT_TRUE(is_close(reuse(*evaluator, look_at(given, before, kSome)), first)) << given.name;
  }
}

TEST(KeptContext, ImagesKeepApart) {
  const torch::NoGradGuard no_grad;
  for (const auto& given : cases()) {
    const auto evaluator = given.denoiser->begin(given.conditions);
    auto tokens = half_known();
    (void)keep(*evaluator, look_at(given, tokens, kSome));
    auto other = look_at(given, (tokens + 2) % (kCodes + 1), kSome);
    other.key = {9, 3};
    (void)keep(*evaluator, other);
    tokens[3] = 2;
    const auto beside = reuse(*evaluator, look_at(given, tokens, kSome));
    const auto alone = given.denoiser->begin(given.conditions);
    (void)keep(*alone, look_at(given, half_known(), kSome));
    EXPECT_TRUE(reuse(*alone, look_at(given, tokens, kSome)).equal(beside)) << given.name;
  }
}

TEST(KeptContext, AChangeOfGuidanceBeginsWithAFullLook) {
  const torch::NoGradGuard no_grad;
  for (const auto& given : {maskgit(2), conditional(2), uvit(false)}) {
    const auto evaluator = given.denoiser->begin(given.conditions);
    auto tokens = half_known();
    (void)keep(*evaluator, look_at(given, tokens, kSome));
    tokens[3] = 2;
    auto look = look_at(given, tokens, kSome);
    look.guidance = {0};  // the condition alone
    const auto cheap = reuse(*evaluator, look);
    EXPECT_TRUE(is_close(cheap, evaluator->logits(look))) << given.name;
  }
}

TEST(KeptContext, IsOfOneImageAtATime) {
  const auto given = plain(2);
  auto look = look_at(given, half_known(), kSome);
  look.tokens = torch::cat({look.tokens, look.tokens});
  EXPECT_THROW((void)keep(*given.denoiser->begin(), look), Error);
}

}  // namespace kept_context_test
}  // namespace tessera
