/// The two forms of the likelihood bound on the model that the repository ships.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>

#include "canvas/cell_likelihood.h"
#include "data/dataset.h"
#include "diffusion/likelihood.h"
#include "metrics/confidence.h"
#include "metrics/prior_likelihood.h"
#include "pipeline/pipeline.h"
#include "support/plain_denoiser.h"

namespace tessera {
namespace shipped_likelihood_test {

TEST(Likelihood, TheTwoFormsAgreeWithinTheirIntervalsOnTheShippedModel) {
  const auto folder = std::string(TESSERA_SOURCE_DIR) + "/models/emoji64";
  auto pipeline = Pipeline::load(folder);
  DatasetOptions data;
  data.path = folder + "/examples";
  data.size = pipeline.codec()->options().image_size;
  data.validation_fraction = 0;
  data.use_cache = false;
  const auto grids = pipeline.codec()->encode(Dataset::open(data).images()).codes().flatten(1);  // [16, L]
  const LogitsAt denoise = [&](const torch::Tensor& tokens, const torch::Tensor& rows) {
    const torch::NoGradGuard no_grad;
    return testing::logits_of(pipeline.prior(), tokens, rows);
  };
  const auto bits = [&](BoundForm form) {
    BoundOptions options;
    options.form = form;
    options.total_steps = pipeline.total_steps();
    options.strata = 8;
    options.seed = 5;
    return bits_per_token(estimate_bound(denoise, grids, pipeline.prior().codebook_size(), options).nats,
                          grids.size(1));
  };
  const auto any_order = bits(BoundForm::any_order), time_steps = bits(BoundForm::time_steps);
  // One in a thousand: another model, whose draws differ, is not to fail by bad luck.
  constexpr double kConfidence = 0.999;
  const auto first = interval_of(any_order, kConfidence), second = interval_of(time_steps, kConfidence);
  const auto difference = interval_of(time_steps - any_order, kConfidence);
  fmt::print(
      "any-order {:.3f} ({:.3f} to {:.3f}), {} time steps {:.3f} ({:.3f} to {:.3f}), difference {:.3f} ({:.3f} to "
      "{:.3f})\n",
      first.mean, first.low, first.high, pipeline.total_steps(), second.mean, second.low, second.high, difference.mean,
      difference.low, difference.high);
  EXPECT_GT(second.mean, first.low);
  EXPECT_LT(second.mean, first.high);
  EXPECT_GT(first.mean, second.low);
  EXPECT_LT(first.mean, second.high);
  // On the same pictures the time steps' bound is above the other by what 256 steps lose, a hundredth of a bit or so.
  EXPECT_LT(difference.low, 0.02);
  EXPECT_GT(difference.high, 0);
  EXPECT_LT(difference.standard_error, 0.25);
  EXPECT_LT(first.mean, std::log2(static_cast<double>(pipeline.prior().codebook_size())) / 2);  // it has learned
}

TEST(Likelihood, CellsOfTheShippedModelAreJudgedAsTheBoundJudgesAHiddenCell) {
  const auto folder = std::string(TESSERA_SOURCE_DIR) + "/models/emoji64";
  auto pipeline = Pipeline::load(folder);
  DatasetOptions data;
  data.path = folder + "/examples";
  data.size = pipeline.codec()->options().image_size;
  data.validation_fraction = 0;
  data.use_cache = false;
  const auto codes = pipeline.codec()->encode(Dataset::open(data).images()).codes().slice(0, 0, 1);  // [1, h, w]
  const auto begin = std::chrono::steady_clock::now();
  const auto found =
      cell_likelihood(pipeline.prior(), pipeline.prior_network().grid, codes, pipeline.fill_process().get(), {});
  fmt::print("{} cells, {} evaluations, {:.0f} ms\n", codes.numel(), found.evaluations,
             std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
  EXPECT_EQ(found.evaluations, codes.numel());
  const auto flat = codes.flatten(1);
  for (const std::int64_t cell : {std::int64_t{0}, flat.size(1) / 2 + 3, flat.size(1) - 1}) {
    auto hidden = torch::zeros_like(flat, torch::kBool);
    hidden.select(1, cell).fill_(true);
    const auto rows = rows_of(hidden);
    const torch::NoGradGuard no_grad;
    const auto logits =
        testing::logits_of(pipeline.prior(), flat.masked_fill(hidden, pipeline.prior().codebook_size()), rows);
    const auto nats = masked_cross_entropy_at(logits.to(torch::kCPU, torch::kFloat32), flat, rows);
    // 16 grids to a call against one: the last bits of the products differ.
    EXPECT_NEAR(found.log_probabilities.flatten()[cell].item<double>(), -nats[0].item<double>(), 2e-3);
  }
}

}  // namespace shipped_likelihood_test
}  // namespace tessera
