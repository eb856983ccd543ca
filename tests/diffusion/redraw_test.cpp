/// The chain of ImageBART against explicit matrices.
#include "diffusion/redraw.h"

#include <gtest/gtest.h>

#include <cmath>

#include "diffusion/mask_replace.h"

namespace tessera {
namespace redraw_test {

constexpr std::int64_t kCodes = 5;

/// q(x_t = j | x_{t-1} = i), [K, K]: beta / K everywhere, and 1 - beta more on the diagonal.
torch::Tensor matrix(double beta) {
  return torch::full({kCodes, kCodes}, beta / kCodes, torch::kFloat64) +
         torch::eye(kCodes, torch::kFloat64) * (1 - beta);
}

std::vector<std::pair<const char*, std::int64_t>> schedules() {
  return {
      {"geometric", 2}, {"geometric", 4}, {"0.4", 3}, {"alphacum:1,0.82,0.55,0.2,0.05", 4}, {"alphacum:1,0.5,0", 2}};
}

TEST(RedrawChain, PosteriorsAreThoseOfExplicitMatrices) {
  for (const auto& [name, total] : schedules()) {
    const auto betas = redraw_schedule(name, total);
    const auto process = MaskReplaceProcess::uniform(kCodes, kept_by(betas));
    ASSERT_EQ(process.total_steps(), total) << name;
    auto by_then = torch::eye(kCodes, torch::kFloat64);  // q(x_{t-1} | x_0)
    for (std::int64_t t = 1; t <= total; ++t) {
      const auto step = matrix(betas[static_cast<std::size_t>(t)]);
      const auto now = by_then.matmul(step);
      for (std::int64_t x0 = 0; x0 < kCodes; ++x0) {
        const auto cell = torch::full({1, 1}, x0, torch::kInt64), at = torch::full({1}, t, torch::kInt64);
        EXPECT_TRUE(torch::allclose(process.log_marginal(cell, at).exp().flatten(), now[x0], 1e-12, 1e-12))
            << name << " t " << t;
        for (std::int64_t xt = 0; xt < kCodes; ++xt) {
          auto expected = by_then[x0] * step.select(1, xt);
          if (expected.sum().item<double>() == 0) continue;
          expected = expected / expected.sum();
          const auto found =
              process.log_posterior(torch::full({1, 1}, xt, torch::kInt64), cell, at - 1, at).exp().flatten();
          EXPECT_TRUE(torch::allclose(found, expected, 1e-10, 1e-12)) << name << " t " << t << " " << found << expected;
        }
      }
      by_then = now;
    }
  }
}

TEST(RedrawChain, GeometricLosesEverythingAtItsEndAndAStepNeverMoreThanItsShare) {
  const auto betas = redraw_schedule("geometric", 4);
  const std::vector<double> expected = {0, 1.0 / 4, 1.0 / 3, 1.0 / 2, 1};
  for (std::size_t t = 0; t < expected.size(); ++t) EXPECT_DOUBLE_EQ(betas[t], expected[t]);
  EXPECT_EQ(kept_by(betas).back(), 0);
}

TEST(RedrawChain, RedrawnCellsAreThoseBelowBeta) {
  const auto x = torch::tensor({0, 1, 2, 3}), codes = torch::tensor({4, 4, 4, 3});
  const auto uniforms = torch::tensor({0.1, 0.29, 0.31, 0.0}, torch::kFloat64);
  EXPECT_TRUE(redrawn(x, codes, uniforms, 0.3).equal(torch::tensor({4, 4, 2, 3})));
}

TEST(RedrawChain, TheDivergenceIsNothingForTheModelThatIsThePosteriorAndHasItsGradient) {
  const auto process = MaskReplaceProcess::uniform(kCodes, kept_by(redraw_schedule("geometric", 3)));
  const auto x0 = torch::tensor({{0, 1, 4}}), xt = torch::tensor({{0, 3, 2}});
  for (std::int64_t t = 1; t <= 3; ++t) {
    const auto at = torch::full({1}, t, torch::kInt64);
    const auto log_q = process.log_posterior(xt, x0, at - 1, at);
    EXPECT_NEAR(step_divergence(log_q.clamp_min(-800), log_q).abs().max().item<double>(), 0, 1e-9) << t;
    // Of softmax(logits) the gradient of KL(q || p) is p - q.
    auto logits = torch::linspace(-1, 2, 3 * kCodes, torch::kFloat64).view({1, 3, kCodes}).requires_grad_();
    step_divergence(logits, log_q).sum().backward();
    EXPECT_TRUE(torch::allclose(logits.grad(), torch::softmax(logits.detach(), -1) - log_q.exp(), 1e-9, 1e-9)) << t;
  }
}

TEST(RedrawChain, TheBoundsTermsAreTheDivergencesOfItsDraws) {
  constexpr std::int64_t kCells = 7, kRows = 9;
  for (const auto& [name, total] : schedules()) {
    const auto process = MaskReplaceProcess::uniform(kCodes, kept_by(redraw_schedule(name, total)));
    const auto x0 = torch::arange(kRows * kCells).remainder(kCodes).view({kRows, kCells});
    const auto uniforms = uniform_rows(3, Purpose::training_masks, 0, 0, kRows, uniforms_of_bound(total) * kCells);
    std::vector<torch::Tensor> expected;
    const StepLogits logits = [&](const torch::Tensor& xt, const torch::Tensor& before, std::int64_t time) {
      EXPECT_EQ(before.equal(x0), time == 1) << name << " t " << time;
      EXPECT_GT(xt.ne(before).sum().item<std::int64_t>(), 0) << name << " t " << time;
      auto made = torch::sin(torch::arange(kRows * kCells * kCodes, torch::kFloat64) * static_cast<double>(time));
      made = made.view({kRows, kCells, kCodes});
      const auto at = torch::full({kRows}, time, torch::kInt64);
      expected.push_back(step_divergence(made, process.log_posterior(xt, x0, at - 1, at)).sum(1));
      return made;
    };
    const auto terms = redraw_bound_terms(process, logits, x0, uniforms);
    ASSERT_EQ(terms.size(0), total + 1);
    EXPECT_TRUE(torch::allclose(terms.slice(0, 1), torch::stack(expected), 1e-9, 1e-9)) << name;
    const auto last = process.log_marginal(x0, torch::full({kRows}, total, torch::kInt64));
    const auto left = (last.exp() * (last + std::log(static_cast<double>(kCodes)))).nan_to_num(0).sum(2).sum(1);
    EXPECT_TRUE(torch::allclose(terms[0], left, 1e-6, 1e-6)) << name << terms[0] << left;
  }
}

TEST(RedrawChain, TheBoundHasTheGradientOfItsDivergences) {
  const auto process = MaskReplaceProcess::uniform(kCodes, kept_by(redraw_schedule("geometric", 3)));
  const auto x0 = torch::tensor({{0, 1, 4}});
  const auto uniforms = uniform_rows(4, Purpose::training_masks, 0, 0, 1, uniforms_of_bound(3) * 3);
  auto own = torch::linspace(-1, 2, 3 * kCodes, torch::kFloat64).view({1, 3, kCodes}).requires_grad_();
  std::vector<torch::Tensor> gradients;
  const StepLogits logits = [&](const torch::Tensor& xt, const torch::Tensor&, std::int64_t time) {
    const auto at = torch::full({1}, time, torch::kInt64);
    const auto log_q = process.log_posterior(xt, x0, at - 1, at);
    gradients.push_back(torch::softmax(own.detach(), -1) - log_q.exp());  // of KL(q || p)
    return own * 1.0;
  };
  redraw_bound_terms(process, logits, x0, uniforms).sum().backward();
  EXPECT_TRUE(torch::allclose(own.grad(), torch::stack(gradients).sum(0), 1e-9, 1e-9)) << own.grad();
}

TEST(RedrawChain, WrongSchedulesAreNamed) {
  for (const char* name : {"geometrical", "alphacum:1,0.5", "alphacum:1,0.5,0.6", "0", "1.5", "alphacum:1,,0", ""}) {
    try {
      (void)redraw_schedule(name, 2);
      ADD_FAILURE() << name;
    } catch (const std::exception& error) {
      EXPECT_NE(std::string(error.what()).find("redraw schedule"), std::string::npos) << error.what();
    }
  }
}

}  // namespace redraw_test
}  // namespace tessera
