// Likelihood estimates: against exhaustive enumeration of a tiny joint distribution and the released code's numbers.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "canvas/cell_likelihood.h"
#include "checkpoint/torch_archive.h"
#include "denoiser/transformer.h"
#include "diffusion/mask_replace.h"
#include "import/importers.h"
#include "metrics/confidence.h"
#include "metrics/prior_likelihood.h"
#include "runtime/error.h"
#include "sampling/exact_chain.h"
#include "sampling/exact_tables.h"
#include "sampling/step_look.h"
#include "support/fixtures.h"

namespace tessera {
namespace likelihood_test {

using testing::example_joint;
using testing::kTableCodes;
using testing::kTableGrid;
using testing::TableDenoiser;

/// Every grid of the table's four cells, [81, 4].
torch::Tensor every_grid() {
  const auto index = torch::arange(81);
  return torch::stack({index.div(27, "floor"), index.div(9, "floor").remainder(3), index.div(3, "floor").remainder(3),
                       index.remainder(3)},
                      1);
}

LogitsAt logits_of(TableDenoiser& table) {
  return [&](const torch::Tensor& tokens, const torch::Tensor& rows) { return table.logits_at(tokens, rows); };
}

/// A denoiser that is not the exact one: conditionals of a flattened joint.
torch::Tensor wrong_joint() {
  const auto flat = example_joint().sqrt();
  return flat / flat.sum();
}

/// The T-step bound of each grid by summing over all 16 masks and all times, in nats.
torch::Tensor enumerated_time_bound(TableDenoiser& table, const torch::Tensor& grids, std::int64_t total_steps) {
  auto bound = torch::zeros({grids.size(0)}, torch::kFloat64);
  for (int mask = 1; mask < 16; ++mask) {
    auto cells = torch::zeros({4}, torch::kBool);
    int masked = 0;
    for (int cell = 0; cell < 4; ++cell) {
      if (mask >> cell & 1) cells[cell] = true, ++masked;
    }
    const auto where = cells.expand({grids.size(0), 4}).contiguous();
    const auto rows = rows_of(where);
    const auto logits = table.logits_at(grids.masked_fill(where, kTableCodes), rows);
    const auto nats = masked_cross_entropy_at(logits, grids, rows).to(torch::kFloat64);
    double weight = 0;
    for (std::int64_t t = 1; t <= total_steps; ++t) {
      const double rate = static_cast<double>(t) / static_cast<double>(total_steps);
      weight += std::pow(rate, masked) * std::pow(1 - rate, 4 - masked) / static_cast<double>(t);
    }
    bound += nats * weight;
  }
  return bound;
}

/// The mean over all 24 orders of -log p decoded in that order.
torch::Tensor enumerated_order_bound(TableDenoiser& table, const torch::Tensor& grids) {
  auto bound = torch::zeros({grids.size(0)}, torch::kFloat64);
  std::vector<int> order = {0, 1, 2, 3};
  do {
    auto known = torch::full_like(grids, kTableCodes);
    for (const int cell : order) {
      const auto rows = torch::arange(grids.size(0)) * 4 + cell;
      const auto logits = table.logits_at(known, rows);
      bound += torch::nll_loss(torch::log_softmax(logits, -1), grids.select(1, cell), {}, at::Reduction::None)
                   .to(torch::kFloat64) /
               24;
      known.select(1, cell).copy_(grids.select(1, cell));
    }
  } while (std::next_permutation(order.begin(), order.end()));
  return bound;
}

TEST(Likelihood, AnyOrderBoundOfTheExactConditionalsIsTheNegativeLogLikelihood) {
  const auto grids = every_grid().slice(0, 0, 81, 3);
  const auto exact = -example_joint().flatten().log().slice(0, 0, 81, 3);
  TableDenoiser table(example_joint(), false);
  EXPECT_LT((enumerated_order_bound(table, grids) - exact).abs().max().item<double>(), 1e-5);
  // The estimate's mean over many draws is that value; single draws differ from it.
  BoundOptions options;
  options.strata = 0;
  options.repeats = 40;
  options.batch = 81;
  const auto estimate = estimate_bound(logits_of(table), grids, kTableCodes, options);
  ASSERT_TRUE(estimate.standard_error.defined());
  const auto z = (estimate.nats - exact) / estimate.standard_error;
  EXPECT_LT(z.abs().max().item<double>(), 4.5);
  EXPECT_LT(std::abs(z.mean().item<double>()), 0.5);
  EXPECT_EQ(estimate.evaluations, 160);
}

TEST(Likelihood, EveryEstimatorAgreesWithEnumerationOfItsOwnBound) {
  const auto grids = every_grid().slice(0, 0, 81, 9);  // 9 of the 81
  TableDenoiser table(wrong_joint(), false);
  const auto by_order = enumerated_order_bound(table, grids);
  const auto by_time = enumerated_time_bound(table, grids, 6);
  for (const bool antithetic : {false, true}) {
    for (const std::int64_t strata : {0, 1, 3}) {
      for (const auto form : {BoundForm::any_order, BoundForm::time_steps}) {
        BoundOptions options;
        options.form = form;
        options.total_steps = 6;
        options.strata = strata;
        options.antithetic = antithetic;
        options.repeats = 40;
        options.seed = 5;
        const auto estimate = estimate_bound(logits_of(table), grids, kTableCodes, options);
        const auto& want = form == BoundForm::any_order ? by_order : by_time;
        const double error = (estimate.nats - want).mean().item<double>();
        const double deviation = estimate.standard_error.square().sum().sqrt().item<double>() / 9;
        EXPECT_LT(std::abs(error), 4 * deviation)
            << name_of(form) << " strata " << strata << " antithetic " << antithetic;
        EXPECT_LT(deviation, 0.3);
      }
    }
  }
}

TEST(Likelihood, TheTimeStepBoundComesDownToTheAnyOrderOneAndNeverBelowTheLikelihood) {
  const auto grids = every_grid();
  TableDenoiser table(example_joint(), false);
  const auto exact = -example_joint().flatten().log();
  const auto mass = example_joint().flatten();
  double before = 1e9;
  for (const std::int64_t steps : {1, 2, 4, 16, 256}) {
    const double expected = (enumerated_time_bound(table, grids, steps) * mass).sum().item<double>();
    EXPECT_LT(expected, before);
    EXPECT_GT(expected, (exact * mass).sum().item<double>());
    before = expected;
  }
  EXPECT_NEAR(before, (exact * mass).sum().item<double>(), 0.01);
}

TEST(Likelihood, TheProcessBoundOfTheAbsorbingProcessIsTheTimeStepBound) {
  const auto grids = every_grid().slice(0, 0, 81, 9);
  TableDenoiser table(wrong_joint(), false);
  const AbsorbingProcess process(kTableCodes, 6, MaskSchedule::random);
  std::vector<std::int64_t> firsts;
  const LogitsOfTimes denoise = [&](const torch::Tensor& xt, const torch::Tensor& t, std::int64_t first) {
    EXPECT_EQ(t.size(0), xt.size(0));
    firsts.push_back(first);
    // The table knows MASK cells; of the others x_0 is x_t, and the process asks for that, too.
    const auto logits = table.logits_at(xt, torch::arange(xt.numel())).view({xt.size(0), xt.size(1), kTableCodes});
    const auto known = (xt < kTableCodes).unsqueeze(2);
    const auto copied = torch::one_hot(xt.clamp_max(kTableCodes - 1), kTableCodes).to(logits.scalar_type()) * 100 - 50;
    return torch::where(known, copied, logits);
  };
  const auto want = enumerated_time_bound(table, grids, 6);
  for (const bool antithetic : {false, true}) {
    BoundOptions options;
    options.strata = 3;
    options.antithetic = antithetic;
    options.repeats = 40;
    options.batch = 5;
    const auto estimate = estimate_process_bound(process, denoise, grids, options);
    const double deviation = estimate.standard_error.square().sum().sqrt().item<double>() / 9;
    EXPECT_LT(std::abs((estimate.nats - want).mean().item<double>()), 4 * deviation) << "antithetic " << antithetic;
    EXPECT_LT(deviation, 0.3);
    EXPECT_EQ(estimate.evaluations, antithetic ? 240 : 120);
  }
  EXPECT_EQ(firsts.front(), 0);
  EXPECT_EQ(firsts.back(), 5);  // rows are numbered among all images
}

TEST(Likelihood, AnEstimateDoesNotDependOnTheBatch) {
  const auto grids = every_grid().slice(0, 0, 81, 4);
  TableDenoiser table(wrong_joint(), false);
  BoundOptions options;
  options.strata = 2;
  options.batch = 100;
  const auto whole = estimate_bound(logits_of(table), grids, kTableCodes, options, 7).nats;
  options.batch = 4;
  EXPECT_TRUE(torch::equal(whole, estimate_bound(logits_of(table), grids, kTableCodes, options, 7).nats));
  const auto tail = estimate_bound(logits_of(table), grids.slice(0, 6), kTableCodes, options, 13).nats;
  EXPECT_TRUE(torch::equal(whole.slice(0, 6), tail));
}

TEST(Likelihood, StrataLowerTheVarianceOfTheEstimate) {
  const auto grids = every_grid().slice(0, 0, 81, 4);
  TableDenoiser table(example_joint(), false);
  const auto spread = [&](std::int64_t strata, std::int64_t repeats) {
    BoundOptions options;
    options.strata = strata;
    options.repeats = repeats;
    options.batch = 81;
    const auto estimate = estimate_bound(logits_of(table), grids, kTableCodes, options);
    return estimate.standard_error.square().sum().item<double>();
  };
  EXPECT_LT(spread(4, 20), spread(1, 80));  // the same number of evaluations
}

TEST(Likelihood, BadInputIsNamed) {
  TableDenoiser table(example_joint(), false);
  EXPECT_THROW(estimate_bound(logits_of(table), torch::full({1, 4}, 3, torch::kInt64), 3, {}), Error);
  EXPECT_THROW(bound_form_from("elbo"), UsageError);
  BoundOptions options;
  options.repeats = 0;
  EXPECT_THROW(options.validate(), UsageError);
}

TEST(Likelihood, TheBoundsTermOfOneHiddenCellIsTheMeanOfTheCellsOwnLikelihoods) {
  const auto grids = every_grid().slice(0, 0, 81, 3);
  TableDenoiser table(example_joint(), false);
  const auto cells = cell_likelihood(table, kTableGrid, grids.view({-1, 2, 2}), nullptr, {}).log_probabilities;
  BoundOptions options;
  options.strata = 0;
  options.repeats = 200;
  options.batch = 81;
  const auto estimate = estimate_bound(logits_of(table), grids, kTableCodes, options);
  // With four cells the first of the sixteen shares holds the draws of one hidden cell alone: 27 grids, 200 draws each.
  const double expected = -cells.mean().item<double>() / std::log(2.0);
  const double deviation = cells.std().item<double>() / std::log(2.0) / std::sqrt(27.0 * 200.0);
  EXPECT_NEAR(estimate.bits_by_share_masked.at(0), expected, 4.5 * deviation);
  EXPECT_LT(deviation, 0.05 * expected);
}

TEST(Parity, MetricsLikelihood) {
  TESSERA_FOR_EACH_CASE(fixture, "unleashing-absorbing") {
    SCOPED_TRACE(fixture.name());
    const auto& hyper = fixture.hyperparameters();
    ImportOptions import;
    import.heads = hyper.at("bert_n_head").get<std::int64_t>();
    import.grid = {hyper.at("latent_shape")[1].get<std::int64_t>(), hyper.at("latent_shape")[2].get<std::int64_t>()};
    const auto imported =
        import_unleashing_absorbing(load_torch_archive(fixture.checkpoint()).tensors(), import, fixture.name());
    auto network = load_transformer(imported.config, imported.tensors, fixture.name());
    const LogitsAt denoise = [&](const auto& tokens, const auto& rows) { return network->logits_at(tokens, rows); };
    const auto& x0 = fixture.tensor("elbo_x_0");
    const auto terms = elbo_terms(denoise, x0, fixture.tensor("elbo_masks"), network->codebook_size());
    EXPECT_TRUE(fixture.matches("elbo", terms.sum(0)));
    // Our own draws of the same sum, and of the any-order form, lie about the published draw.
    BoundOptions options;
    options.total_steps = hyper.at("total_steps").get<std::int64_t>();
    options.form = BoundForm::time_steps;
    options.strata = 0;
    options.repeats = 8;
    const auto by_time = estimate_bound(denoise, x0, network->codebook_size(), options);
    const auto one_draw = by_time.standard_error * std::sqrt(8.0);
    EXPECT_LT(((by_time.nats - fixture.tensor("elbo").to(torch::kFloat64)).abs() / one_draw).max().item<double>(), 6);
  }
}

TEST(Confidence, StudentQuantilesAreThoseOfTheTables) {
  EXPECT_NEAR(student_quantile(0.95, 1), 12.7062, 1e-3);
  EXPECT_NEAR(student_quantile(0.95, 2), 4.30265, 1e-4);
  EXPECT_NEAR(student_quantile(0.95, 5), 2.57058, 2e-3);
  EXPECT_NEAR(student_quantile(0.99, 30), 2.74999, 1e-4);
  EXPECT_NEAR(student_quantile(0.95, 1000000), 1.95996, 1e-4);
  const auto interval = interval_of(torch::tensor({1.0, 2.0, 3.0}));
  EXPECT_DOUBLE_EQ(interval.mean, 2);
  EXPECT_NEAR(interval.standard_error, 1 / std::sqrt(3.0), 1e-12);
  EXPECT_NEAR(interval.high - interval.mean, 4.30265 / std::sqrt(3.0), 1e-4);
  EXPECT_THROW(interval_of(torch::tensor({1.0, std::nan("")})), Error);
  EXPECT_DOUBLE_EQ(interval_of(torch::tensor({4.0})).low, 4);
}

TEST(ChainBound, OfExactStepsIsTheLikelihoodItself) {
  using testing::kChainCodes;
  const auto joint = testing::chain_joint();
  const auto each = torch::arange(kChainCodes * kChainCodes);
  const auto grids = torch::stack({each.div(kChainCodes, "floor"), each.remainder(kChainCodes)}, 1);
  const auto process = std::make_shared<MaskReplaceProcess>(
      MaskReplaceProcess::uniform(kChainCodes, kept_by(redraw_schedule("geometric", 3))));
  testing::ExactChain chain(process, joint);
  const auto evaluator = chain.begin();
  std::int64_t seen = 0;
  const ChainLogits logits = [&](const torch::Tensor& xt, const torch::Tensor& before, std::int64_t time,
                                 std::int64_t first) {
    seen = std::max(seen, first);
    return as_step_evaluator(*evaluator).step_logits(step_look(*process, xt, time), before);
  };
  BoundOptions options;
  options.repeats = 4000;
  options.batch = 4;
  const auto estimate = estimate_chain_bound(*process, logits, grids, options);
  EXPECT_EQ(estimate.evaluations, 4000 * 3);
  EXPECT_EQ(seen, 8);
  const auto off = (estimate.nats + joint.flatten().log()) / estimate.standard_error;
  EXPECT_LT(off.abs().max().item<double>(), 4) << estimate.nats << estimate.standard_error;
  EXPECT_LT(estimate.standard_error.max().item<double>(), 0.03);
}

TEST(IndependentLikelihood, IsTheSumOverCells) {
  const auto table = torch::tensor({0.5, 0.3, 0.2, 0.1, 0.1, 0.8}, torch::kFloat64).view({2, 3}).log();
  const auto grids = torch::tensor({{0, 2}, {2, 0}, {1, 1}});
  const auto own = independent_nll(table, grids);
  EXPECT_TRUE(torch::allclose(own, -torch::tensor({0.5 * 0.8, 0.2 * 0.1, 0.3 * 0.1}, torch::kFloat64).log()));
  const auto shared = independent_nll(table.narrow(0, 0, 1), grids);
  EXPECT_TRUE(torch::allclose(shared, -torch::tensor({0.5 * 0.2, 0.2 * 0.5, 0.3 * 0.3}, torch::kFloat64).log()));
}

}  // namespace likelihood_test
}  // namespace tessera
