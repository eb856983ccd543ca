#include "diffusion/absorbing.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "diffusion/likelihood.h"
#include "diffusion/time_sampler.h"
#include "runtime/error.h"

namespace tessera {
namespace absorbing_test {

torch::Tensor some_tokens(std::int64_t count, std::int64_t cells, std::int64_t codes) {
  return (torch::arange(count * cells) * 7 % codes).view({count, cells});
}

TEST(AbsorbingProcess, MasksAShareOfCellsThatGrowsWithTime) {
  const AbsorbingProcess process(5, 10);
  const auto x0 = some_tokens(400, 16, 5);
  for (const std::int64_t t : {0, 1, 5, 10}) {
    const auto noised = process.q_sample(x0, torch::full({400}, t, torch::kInt64), 3, 0, 1);
    const double share = noised.changed.to(torch::kFloat64).mean().item<double>();
    const double rate = static_cast<double>(t) / 10;
    EXPECT_NEAR(share, rate, 4 * std::sqrt(rate * (1 - rate) / 6400)) << "t = " << t;
    EXPECT_TRUE(noised.tokens.eq(5).equal(noised.changed));
    EXPECT_TRUE(torch::where(noised.changed, x0, noised.tokens).equal(x0));
  }
}

TEST(AbsorbingProcess, DrawsOfARowDoNotDependOnItsBatch) {
  for (const auto schedule : {MaskSchedule::random, MaskSchedule::fixed}) {
    const AbsorbingProcess process(5, 10, schedule);
    const auto x0 = some_tokens(6, 16, 5);
    const auto t = torch::arange(1, 7);
    const auto together = process.q_sample(x0, t, 11, 20, 4).tokens;
    for (std::int64_t row = 0; row < 6; ++row) {
      const auto alone = process.q_sample(x0.narrow(0, row, 1), t.narrow(0, row, 1), 11, 20 + row, 4).tokens;
      EXPECT_TRUE(alone[0].equal(together[row])) << name_of(schedule) << " row " << row;
    }
  }
}

TEST(AbsorbingProcess, FixedScheduleMasksExactlyItsCount) {
  const AbsorbingProcess process(5, 16, MaskSchedule::fixed);
  for (std::int64_t t = 1; t <= 16; ++t) {
    const auto noised = process.q_sample(some_tokens(3, 5, 5), torch::full({3}, t, torch::kInt64), 1, 0, 0);
    EXPECT_TRUE(noised.changed.sum(1).eq(process.fixed_count(t, 5)).all().item<bool>()) << "t = " << t;
  }
}

TEST(AbsorbingProcess, PosteriorSumsToOneAtEveryStep) {
  const AbsorbingProcess process(5, 8);
  const auto xt = torch::tensor({{5, 2, 5, 0}, {5, 5, 5, 5}}, torch::kInt64);
  const auto probabilities = torch::softmax(torch::arange(40, torch::kFloat64).view({2, 4, 5}).sin(), -1);
  for (std::int64_t t = 1; t <= 8; ++t) {
    const auto posterior = process.posterior(xt, probabilities, torch::full({2}, t, torch::kInt64));
    EXPECT_TRUE(torch::allclose(posterior.sum(2), torch::ones({2, 4}, torch::kFloat64)));
    EXPECT_NEAR(posterior[0][0][5].item<double>(), 1 - 1.0 / static_cast<double>(t), 1e-12);
    EXPECT_EQ(posterior[0][1][2].item<double>(), 1);
  }
}

TEST(AbsorbingProcess, UndoesTheForwardProcessExactly) {
  // With p(x0 | xt) = the true x0, q(xt) pushed through the posterior is q(x_{t-1}): a cell is MASK with (t-1)/T.
  const std::int64_t total = 6;
  const AbsorbingProcess process(3, total);
  const auto truth = torch::one_hot(torch::tensor({{1}}, torch::kInt64), 3).to(torch::kFloat64);
  for (std::int64_t t = 1; t <= total; ++t) {
    const auto time = torch::full({1}, t, torch::kInt64);
    const auto from_mask = process.posterior(torch::tensor({{3}}, torch::kInt64), truth, time)[0][0];
    const auto from_known = process.posterior(torch::tensor({{1}}, torch::kInt64), truth, time)[0][0];
    const double rate = static_cast<double>(t) / total;
    const auto before = from_mask * rate + from_known * (1 - rate);
    EXPECT_NEAR(before[3].item<double>(), static_cast<double>(t - 1) / total, 1e-12);
    EXPECT_NEAR(before[1].item<double>(), 1 - static_cast<double>(t - 1) / total, 1e-12);
  }
}

TEST(TrainingLoss, FromMaskedRowsEqualsFromAllCells) {
  const auto x0 = some_tokens(3, 8, 5);
  const auto logits = torch::arange(120, torch::kFloat64).view({3, 8, 5}).sin() * 3;
  const auto masked = x0.remainder(2) == 0;
  const auto rows = rows_of(masked);
  const auto all = masked_cross_entropy(logits, x0, masked);
  const auto some = masked_cross_entropy_at(logits.flatten(0, 1).index_select(0, rows), x0, rows);
  EXPECT_TRUE(torch::allclose(all, some, 1e-12, 1e-12));
}

TEST(TrainingLoss, UniformTimesMakeTheBoundUnbiasedOverTimeSteps) {
  // E over t of CE_t / (t p_t) with p_t = 1/T is the sum of CE_t / t.
  const std::int64_t total = 4;
  const auto ce = torch::tensor({1.0, 2.0, 3.0, 4.0}, torch::kFloat64);
  const auto t = torch::arange(1, total + 1);
  const auto losses =
      training_loss(LossKind::elbo, ce, torch::ones({4, 5}, torch::kBool), t, torch::full({total}, 1.0 / total), total);
  EXPECT_NEAR(losses.mean().item<double>(), 4.0 / (5 * std::numbers::ln2), 1e-6);
}

TEST(TimeSampler, ImportanceDrawsFollowItsProbabilities) {
  TimeSampler sampler(4);
  const std::int64_t draws = 20000;
  EXPECT_FALSE(sampler.warmed_up());
  EXPECT_TRUE(sampler.sample(TimeSampling::importance, 50, 1, 0, 0).p_t.eq(0.25).all().item<bool>());
  sampler.bound_count.fill_(11);
  sampler.bound_history = torch::tensor({0.F, 1.F, 4.F, 9.F, 0.F});
  const auto drawn = sampler.sample(TimeSampling::importance, draws, 1, 0, 0);
  const auto counts = torch::bincount(drawn.t, {}, 5);
  EXPECT_EQ(counts[0].item<std::int64_t>(), 0);
  for (std::int64_t t = 1; t <= 3; ++t) {
    const double p = static_cast<double>(t) / 6;
    EXPECT_NEAR(counts[t].item<double>() / draws, p, 4 * std::sqrt(p * (1 - p) / draws)) << "t = " << t;
    EXPECT_TRUE(torch::allclose(drawn.p_t.masked_select(drawn.t == t), torch::tensor(static_cast<float>(p)), 1e-3));
  }
}

TEST(TimeSampler, UniformDrawsCoverOneToT) {
  const auto t = TimeSampler(3).sample(TimeSampling::uniform, 3000, 5, 0, 0).t;
  for (std::int64_t step = 1; step <= 3; ++step) EXPECT_NEAR((t == step).sum().item<double>(), 1000, 110);
  EXPECT_EQ(t.min().item<std::int64_t>(), 1);
}

TEST(Names, UnknownOnesListTheChoices) {
  for (const auto kind : {LossKind::reweighted_elbo, LossKind::elbo, LossKind::mlm}) {
    EXPECT_EQ(loss_kind_from(name_of(kind)), kind);
  }
  try {
    loss_kind_from("ebo");
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "loss 'ebo': expected one of reweighted_elbo, elbo, mlm");
  }
  EXPECT_THROW(mask_schedule_from("cosine"), Error);
  EXPECT_THROW(time_sampling_from("loss"), Error);
}

}  // namespace absorbing_test
}  // namespace tessera
