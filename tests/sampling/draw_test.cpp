#include "sampling/draw.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "runtime/error.h"
#include "sampling/device_draw.h"

namespace tessera {
namespace draw_test {

const std::vector<float> kLogits = {0.5F, 2.0F, -1.0F, 2.0F, 1.0F};

/// Shares of the tokens over an even grid of uniforms: the distribution to within 1/count.
std::vector<double> shares(const DrawOptions& options, std::int64_t count = 100000) {
  std::vector<double> result(kLogits.size(), 0);
  DrawScratch scratch;
  for (std::int64_t i = 0; i < count; ++i) {
    const double uniform = (static_cast<double>(i) + 0.5) / static_cast<double>(count);
    result[draw_token(kLogits.data(), 5, uniform, options, scratch).token] += 1.0 / static_cast<double>(count);
  }
  return result;
}

void expect_shares(const DrawOptions& options, std::vector<double> weights) {
  double sum = 0;
  for (const double w : weights) sum += w;
  const auto got = shares(options);
  for (std::size_t code = 0; code < weights.size(); ++code) EXPECT_NEAR(got[code], weights[code] / sum, 1e-4) << code;
}

TEST(DrawToken, FollowsTheSoftmaxAtEveryTemperature) {
  for (const double temperature : {0.5, 1.0, 1.7}) {
    std::vector<double> weights;
    for (const float logit : kLogits) weights.push_back(std::exp(logit / temperature));
    DrawOptions options;
    options.temperature = temperature;
    expect_shares(options, weights);
  }
}

TEST(DrawToken, ZeroTemperatureTakesTheFirstOfTheMostProbable) {
  DrawOptions options;
  options.temperature = 0;
  expect_shares(options, {0, 1, 0, 0, 0});
}

TEST(DrawToken, TopKKeepsExactlyKAlsoAmongEqualOnes) {
  DrawOptions options;
  options.top_k = 1;
  expect_shares(options, {0, 1, 0, 0, 0});
  options.top_k = 3;
  expect_shares(options, {0, std::exp(2.0), 0, std::exp(2.0), std::exp(1.0)});
  options.top_k = 50;
  expect_shares(options, {std::exp(0.5), std::exp(2.0), std::exp(-1.0), std::exp(2.0), std::exp(1.0)});
}

TEST(DrawToken, TopPKeepsTheFewestThatReachTheMass) {
  // Probabilities: 0.0853 0.3823 0.0190 0.3823 0.1406... of the two largest together 0.7557.
  DrawOptions options;
  options.top_p = 0.3;
  expect_shares(options, {0, 1, 0, 0, 0});
  options.top_p = 0.7;
  expect_shares(options, {0, 1, 0, 1, 0});
  options.top_p = 0.8;
  expect_shares(options, {0, std::exp(2.0), 0, std::exp(2.0), std::exp(1.0)});
}

TEST(DrawToken, TypicalKeepsTheSurpriseNearestToTheEntropy) {
  // Probabilities 0.0853 0.3823 0.0190 0.3823 0.1406: surprise 2.46 0.96 3.96 0.96 1.96,
  // entropy 1.30: the two largest come first, then 1.96, then 2.46.
  std::vector<double> weights;
  for (const float logit : kLogits) weights.push_back(std::exp(logit));
  DrawOptions options;
  options.typical_p = 0.3;
  expect_shares(options, {0, 1, 0, 0, 0});
  options.typical_p = 0.7;
  expect_shares(options, {0, 1, 0, 1, 0});
  options.typical_p = 0.8;
  expect_shares(options, {0, weights[1], 0, weights[3], weights[4]});
  options.typical_p = 0.95;
  expect_shares(options, {weights[0], weights[1], 0, weights[3], weights[4]});
}

TEST(DrawToken, TypicalMayLeaveOutTheMostProbable) {
  // One token of 0.3 and sixteen that share 0.7: entropy 2.55, surprise 1.20 and 3.13, the many are nearer. One of 0.6
  // and sixteen that share 0.4: entropy 1.78, surprise 0.51 and 3.69, the one is.
  std::vector<float> logits(17, std::log(0.7F / 16));
  logits[0] = std::log(0.3F);
  DrawOptions options;
  options.typical_p = 0.5;
  DrawScratch scratch;
  for (int i = 0; i < 50; ++i) EXPECT_NE(draw_token(logits.data(), 17, (i + 0.5) / 50, options, scratch).token, 0);
  std::fill(logits.begin(), logits.end(), std::log(0.4F / 16));
  logits[0] = std::log(0.6F);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(draw_token(logits.data(), 17, (i + 0.5) / 50, options, scratch).token, 0);
}

TEST(DrawToken, ReportsTheLogProbabilityOfTheUntemperedSoftmax) {
  double sum = 0;
  for (const double logit : kLogits) sum += std::exp(logit);
  DrawOptions options;
  options.temperature = 0.3;
  options.top_k = 2;
  DrawScratch scratch;
  const auto draw = draw_token(kLogits.data(), 5, 0.9, options, scratch);
  EXPECT_EQ(draw.token, 3);
  EXPECT_NEAR(draw.log_probability, 2 - std::log(sum), 1e-12);
}

TEST(DrawToken, LeavesOutTokensOfLogitMinusInfinity) {
  const float none = -std::numeric_limits<float>::infinity();
  const std::vector<float> logits = {none, 0, none, 0, none};
  DrawScratch scratch;
  for (const double uniform : {1e-17, 0.4, 0.6, 1 - 1e-16}) {
    EXPECT_EQ(draw_token(logits.data(), 5, uniform, {}, scratch).token, uniform < 0.5 ? 1 : 3);
  }
}

TEST(DrawToken, RefusesLogitsThatAreNotFinite) {
  DrawScratch scratch;
  const float inf = std::numeric_limits<float>::infinity();
  for (const float bad : {std::nanf(""), inf}) {
    for (const std::size_t at : {0U, 2U, 4U}) {
      auto logits = kLogits;
      logits[at] = bad;
      EXPECT_THROW(draw_token(logits.data(), 5, 0.5, {}, scratch), Error) << bad << " at " << at;
    }
  }
  const std::vector<float> none(5, -inf);
  EXPECT_THROW(draw_token(none.data(), 5, 0.5, {}, scratch), Error);
}

TEST(Draw, ManyRowsAtOnceAreTheSameDraws) {
  torch::manual_seed(2);
  const std::int64_t rows = 3000, codes = 37;
  auto logits = torch::randn({rows, codes}) * 3;
  logits.masked_fill_(torch::rand({rows, codes}) < 0.2, -std::numeric_limits<float>::infinity());
  logits.select(1, 5).zero_();
  const auto uniforms = torch::rand({rows}, torch::kFloat64).clamp(1e-9, 1 - 1e-9);
  DrawScratch scratch;
  for (const double temperature : {1.0, 0.0, 0.6, 3.0}) {
    DrawOptions options;
    options.temperature = temperature;
    ASSERT_TRUE(draws_on_device(options));
    const auto got = draw_tokens(logits, uniforms, options);
    for (std::int64_t row = 0; row < rows; ++row) {
      const auto expected =
          draw_token(logits.data_ptr<float>() + row * codes, codes, uniforms.data_ptr<double>()[row], options, scratch);
      ASSERT_EQ(got.tokens[row].item<std::int64_t>(), expected.token) << "row " << row << " at " << temperature;
      ASSERT_NEAR(got.log_probability[row].item<double>(), expected.log_probability, 1e-9);
    }
  }
  DrawOptions cut;
  cut.top_k = 3;
  EXPECT_FALSE(draws_on_device(cut));
}

}  // namespace draw_test
}  // namespace tessera
