#include "denoiser/conditional_transformer.h"

#include <gtest/gtest.h>

#include "denoiser/conditional_start.h"
#include "denoiser/guided_denoiser.h"
#include "runtime/error.h"

namespace tessera {
namespace conditional_transformer_test {

ConditionalOptions small(bool text, bool classes) {
  ConditionalOptions options;
  options.codebook_size = 7;
  options.grid = {2, 3};
  options.layers = 2;
  options.heads = 2;
  options.head_width = 8;
  options.total_steps = 10;
  options.condition_width = text ? 12 : 0;
  options.classes = classes ? 5 : 0;
  return options;
}

ConditionalTransformer network_of(const ConditionalOptions& options, Seed seed = 3) {
  ConditionalTransformer network(options);
  network->initialise(seed);
  const torch::NoGradGuard no_grad;
  for (auto& parameter : network->parameters()) parameter.mul_(8);  // so that conditions tell
  network->eval();
  return network;
}

ConditionBatch condition_of(const ConditionalOptions& options, std::int64_t rows) {
  ConditionBatch condition;
  if (options.condition_width > 0) {
    condition.states =
        (torch::arange(rows * 4 * options.condition_width) * 0.3).sin().view({rows, 4, options.condition_width});
  }
  if (options.classes > 0) condition.classes = torch::arange(rows) % options.classes;
  return condition;
}

const torch::Tensor kTokens = (torch::arange(18) * 5 % 8).view({3, 6});
const torch::Tensor kTimes = torch::tensor({1, 10, 4});

TEST(ConditionalTransformer, RowsAndTimesInABatchAreTheSameAsApart) {
  const torch::NoGradGuard no_grad;
  for (const auto& [text, classes] : {std::pair{true, false}, std::pair{false, true}, std::pair{false, false}}) {
    const auto options = small(text, classes);
    auto network = network_of(options);
    const auto condition = condition_of(options, 3);
    const auto together = network->forward(kTokens, kTimes, condition);
    EXPECT_EQ(together.sizes(), (std::vector<std::int64_t>{3, 6, 7}));
    const auto rows = torch::tensor({1, 7, 8, 17});
    EXPECT_TRUE(torch::allclose(network->forward(kTokens, kTimes, condition, rows),
                                together.flatten(0, 1).index_select(0, rows), 1e-5, 1e-5));
    for (std::int64_t n = 0; n < 3; ++n) {
      ConditionBatch own;
      if (text) own.states = condition.states.narrow(0, n, 1);
      if (classes) own.classes = condition.classes.narrow(0, n, 1);
      const auto alone = network->forward(kTokens.narrow(0, n, 1), kTimes.narrow(0, n, 1), own);
      EXPECT_TRUE(torch::allclose(alone[0], together[n], 1e-4, 1e-4)) << n;
    }
  }
}

TEST(ConditionalTransformer, EveryParameterHasAGradientAndItIsTheSlope) {
  for (const bool text : {true, false}) {
    const auto options = small(text, !text);
    ConditionalTransformer network(options);
    network->initialise(5);
    network->to(torch::kFloat64);
    auto condition = condition_of(options, 3);
    if (text) condition.states = condition.states.to(torch::kFloat64);
    const auto loss = [&] {
      return (network->forward(kTokens, kTimes, condition) *
              torch::arange(3 * 6 * 7, torch::kFloat64).view({3, 6, 7}).sin())
          .sum();
    };
    loss().backward();
    for (auto& item : network->named_parameters()) {
      auto value = item.value();
      ASSERT_TRUE(value.grad().defined()) << item.key();
      const auto direction = (torch::arange(value.numel(), torch::kFloat64) * 1.3).cos().view(value.sizes());
      const double slope = (value.grad() * direction).sum().item<double>();
      const torch::NoGradGuard no_grad;
      constexpr double kStep = 1e-5;
      value.add_(direction, kStep);
      const double up = loss().item<double>();
      value.sub_(direction, 2 * kStep);
      const double down = loss().item<double>();
      value.add_(direction, kStep);
      EXPECT_NEAR((up - down) / (2 * kStep), slope, 1e-5 * (1 + std::abs(slope))) << item.key();
    }
  }
}

TEST(ConditionalTransformer, ConfigAndWeightsSurviveTheDisk) {
  const torch::NoGradGuard no_grad;
  for (const bool text : {true, false}) {
    const auto options = small(text, !text);
    auto network = network_of(options);
    auto again = load_conditional(nlohmann::json::parse(options.to_config().dump()), network->state(), "copy");
    EXPECT_TRUE(again->forward(kTokens, kTimes, condition_of(options, 3))
                    .equal(network->forward(kTokens, kTimes, condition_of(options, 3))));
    auto damaged = network->state();
    damaged.erase("out.bias");
    damaged["surplus"] = torch::zeros({2});
    try {
      (void)load_conditional(options.to_config(), damaged, "bundle");
      FAIL();
    } catch (const Error& error) {
      const std::string says = error.what();
      EXPECT_NE(says.find("missing: out.bias [7]"), std::string::npos) << says;
      EXPECT_NE(says.find("unexpected: surplus [2]"), std::string::npos) << says;
    }
  }
}

TEST(GuidedDenoiser, HalvesInOneBatchAreTheHalvesApart) {
  const torch::NoGradGuard no_grad;
  for (const bool text : {true, false}) {
    const auto options = small(text, !text);
    auto network = network_of(options);
    GuidedDenoiser denoiser(network);
    const auto states = condition_of(options, 2).states;
    Condition condition;
    if (text) {
      condition.states = states[0];
      condition.null_states = states[1];
    } else {
      condition.label = 2;
    }
    const auto at_scale = [&](double scale) {
      condition.scale = scale;
      return denoiser.begin({condition})->logits({kTokens, torch::arange(18), torch::tensor({4})});
    };
    const auto with = at_scale(1), without = at_scale(0), both = at_scale(3);
    EXPECT_GT((with - without).abs().max().item<double>(), 1e-3);
    const auto mixed = without + 3 * (with - without);
    EXPECT_TRUE(torch::allclose(both, mixed - mixed.logsumexp({-1}, true), 1e-4, 1e-4));
    EXPECT_TRUE(torch::allclose(both.exp().sum(-1), torch::ones({18}), 1e-4, 1e-4));
  }
}

TEST(GuidedDenoiser, ImagesUnderDifferentConditionsAreAsEachAlone) {
  const torch::NoGradGuard no_grad;
  for (const bool text : {true, false}) {
    const auto options = small(text, !text);
    auto network = network_of(options);
    GuidedDenoiser denoiser(network);
    const auto states = condition_of(options, 3).states;
    std::vector<Condition> conditions(5);
    const std::vector<double> scales = {3, 1, 0, -2, 3};  // both halves, one, the other, both, as the first
    for (std::size_t i = 0; i < conditions.size(); ++i) {
      conditions[i].scale = scales[i];
      if (text) {
        conditions[i].states = i == 4 ? conditions[0].states : states[static_cast<std::int64_t>(i % 2)];
        conditions[i].null_states = i == 4 ? conditions[0].null_states : states[2];
      } else {
        conditions[i].label = static_cast<std::int64_t>(i % 3);
      }
    }
    const auto tokens = torch::randint(0, options.codebook_size + 1, {5, 6}, torch::kInt64);
    const auto times = torch::tensor({1, 2, 3, 4, 5});
    const auto rows = torch::tensor({0, 3, 7, 12, 13, 20, 26, 29});
    const auto together = denoiser.begin(conditions)->logits({tokens, rows, times});
    for (std::int64_t i = 0; i < rows.size(0); ++i) {
      const auto image = rows[i].item<std::int64_t>() / 6;
      const auto alone =
          denoiser.begin({conditions[static_cast<std::size_t>(image)]})
              ->logits({tokens.narrow(0, image, 1), rows.narrow(0, i, 1) - 6 * image, times.narrow(0, image, 1)});
      EXPECT_TRUE(torch::allclose(together[i], alone[0], 1e-5, 1e-5)) << text << " row " << i;
    }
    const auto mirrored =
        denoiser.begin(conditions)
            ->logits({tokens.flip(0), (4 - rows.div(6, "floor")) * 6 + rows % 6, times.flip(0), {4, 3, 2, 1, 0}});
    EXPECT_TRUE(torch::allclose(together, mirrored, 1e-5, 1e-5)) << "rows may stand anywhere";
  }
}

TEST(GuidedDenoiser, KeysAndValuesOfATextAreComputedOnce) {
  const torch::NoGradGuard no_grad;
  const auto options = small(true, false);
  auto network = network_of(options);
  const auto states = condition_of(options, 2).states;
  const auto kept = network->keys_and_values(states);
  ConditionBatch by_states, by_keys;
  by_states.states = states.index_select(0, torch::tensor({1, 0, 1}));
  by_keys.keys_and_values = kept;
  by_keys.texts = torch::tensor({1, 0, 1});
  EXPECT_TRUE(torch::allclose(network->forward(kTokens, kTimes, by_states), network->forward(kTokens, kTimes, by_keys),
                              1e-5, 1e-5));
}

TEST(GuidedDenoiser, AnAbsentClassIsTheMeanOfAll) {
  const torch::NoGradGuard no_grad;
  auto options = small(false, true);
  auto network = network_of(options);
  const auto none = network->forward(kTokens, kTimes, {{}, torch::full({3}, -1, torch::kInt64), {}, {}});
  auto tensors = network->state();
  for (auto& [name, tensor] : tensors) {
    if (name.ends_with("norm3.emb.weight")) tensor = tensor.mean(0, true).expand_as(tensor).clone();
  }
  auto same = load_conditional(options.to_config(), tensors, "mean");
  EXPECT_TRUE(torch::allclose(none, same->forward(kTokens, kTimes, {{}, torch::arange(3), {}, {}}), 1e-5, 1e-5));
  GuidedDenoiser denoiser(network);
  Condition condition;
  condition.label = 5;
  EXPECT_THROW((void)denoiser.begin({condition}), Error);
}

TEST(ConditionalTransformer, StartedFromAPriorItGivesThePriorsLogitsWhateverTheTimeAndCondition) {
  const torch::NoGradGuard no_grad;
  TransformerOptions sizes;
  sizes.codebook_size = 7;
  sizes.grid = {2, 3};
  sizes.layers = 2;
  sizes.heads = 2;
  sizes.width = 16;
  Transformer prior(sizes, Initialisation::framework, 5);
  prior->eval();
  auto weights = prior->state();
  // Positions that are the sum of a row and a column, so that nothing is lost.
  const auto rows = (torch::arange(32) * 0.7).sin().view({2, 1, 16}),
             columns = (torch::arange(48) * 0.4).cos().view({1, 3, 16});
  weights.at("position_embedding").copy_((rows + columns).reshape({6, 16}));
  for (const auto* norm : {"blocks.0.norm1", "blocks.1.norm2", "final_norm"}) {
    weights.at(std::string(norm) + ".weight").copy_(1 + 0.2 * torch::arange(16).cos());
    weights.at(std::string(norm) + ".bias").copy_(0.1 * torch::arange(16).sin());
  }
  const auto expected = prior->forward(kTokens);
  for (const auto& [text, classes] : {std::pair{true, false}, std::pair{false, true}, std::pair{false, false}}) {
    auto options = small(text, classes);
    options.exact_gelu = true;
    auto network = network_of(options);
    start_from_prior(network, sizes, weights, "prior");
    const auto logits = network->forward(kTokens, kTimes, condition_of(options, 3));
    EXPECT_TRUE(torch::allclose(logits, expected, 1e-4, 1e-4)) << (logits - expected).abs().max();
  }
  // Of a prior of other codes all but what reads and tells codes.
  auto more = small(true, false);
  more.exact_gelu = true;
  more.codebook_size = 9;
  auto larger = network_of(more);
  const auto fresh = larger->state().at("out.weight").clone();
  start_from_prior(larger, sizes, weights, "prior");
  EXPECT_TRUE(torch::equal(larger->state().at("out.weight"), fresh));
  EXPECT_TRUE(
      torch::equal(larger->state().at("transformer_blocks.1.ff.net.2.weight"), weights.at("blocks.1.mlp.down.weight")));

  auto narrow = small(true, false);
  narrow.exact_gelu = true;
  narrow.head_width = 4;
  auto network = network_of(narrow);
  EXPECT_THROW(start_from_prior(network, sizes, weights, "prior"), Error);
}

}  // namespace conditional_transformer_test
}  // namespace tessera
