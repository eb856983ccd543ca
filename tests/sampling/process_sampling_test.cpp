/// The reverse of every process with an exact denoiser: what comes out is the distribution itself.
#include <gtest/gtest.h>

#include <cmath>

#include "diffusion/mask_replace.h"
#include "diffusion/objective.h"
#include "diffusion/structured.h"
#include "sampling/fill.h"
#include "sampling/purity.h"
#include "sampling/sampler.h"
#include "sampling/truncation.h"
#include "support/plain_denoiser.h"

namespace tessera {
namespace process_sampling_test {

constexpr std::int64_t kCodes = 3, kSteps = 120;
constexpr Extent kGrid{1, 2};
constexpr double kQuantile999 = 26.12;  // chi-square, 8 degrees of freedom

/// A dependent joint of two cells, [3, 3].
torch::Tensor joint() {
  auto table = torch::tensor({6.0, 1.0, 0.5, 0.7, 5.0, 1.5, 0.4, 1.1, 4.0}, torch::kFloat64).view({kCodes, kCodes});
  return table / table.sum();
}

/// p(x_0 of a cell | x_t) by Bayes' rule over all nine grids.
class ExactDenoiser : public testing::PlainDenoiser {
 public:
  explicit ExactDenoiser(std::shared_ptr<const Process> process, torch::Tensor table = joint())
      : process_(std::move(process)), joint_(std::move(table)) {}
  std::int64_t codebook_size() const override { return kCodes; }
  bool sees_time() const override { return true; }

  torch::Tensor look_at(const Look& look) override {
    const auto& tokens = look.tokens;
    const auto t = look.times.expand({tokens.size(0)}).contiguous();
    const auto seen = process_->log_likelihood(tokens, torch::zeros_like(t), t).narrow(2, 0, kCodes);  // [N, 2, 3]
    const auto whole = joint_.log() + seen.select(1, 0).unsqueeze(2) + seen.select(1, 1).unsqueeze(1);
    const auto cells = torch::stack({whole.logsumexp({2}), whole.logsumexp({1})}, 1);  // [N, 2, 3]
    return cells.flatten(0, 1).index_select(0, look.rows).to(torch::kFloat32);
  }

 private:
  std::shared_ptr<const Process> process_;
  torch::Tensor joint_;
};

struct Named {
  const char* name;
  std::shared_ptr<const Process> process;
};

std::vector<Named> processes(std::int64_t steps = kSteps) {
  const auto codebook = torch::tensor({0.0, 1.0, 2.5}).view({kCodes, 1});
  // Ends where it starts from: nothing is left of the code at T.
  return {{"mask-and-replace",
           std::make_shared<MaskReplaceProcess>(kCodes, steps, MaskReplaceSchedule{0.99, 1e-6, 0.005, 0.999998})},
          {"absorbing", std::make_shared<MaskReplaceProcess>(MaskReplaceProcess::absorbing(kCodes, steps))},
          {"uniform", std::make_shared<MaskReplaceProcess>(MaskReplaceProcess::uniform(kCodes, steps))},
          {"gaussian", std::make_shared<GaussianProcess>(kCodes, steps, 0.01, 0.6)},
          {"nearest-embedding", std::make_shared<NearestEmbeddingProcess>(codebook, steps, 1)}};
}

double chi_square(const torch::Tensor& samples, const torch::Tensor& table = joint()) {
  const auto counts = torch::bincount(samples.select(1, 0) * kCodes + samples.select(1, 1), {}, 9).to(torch::kFloat64);
  const auto expected = table.flatten() * static_cast<double>(samples.size(0));
  return ((counts - expected).square() / expected).sum().item<double>();
}

FillOptions options_of(const Named& named, std::int64_t steps) {
  FillOptions options;
  options.steps = steps;
  options.seed = 11;
  options.images_per_call = 500;
  options.process = named.process;
  return options;
}

TEST(ProcessSampling, ManyStepsOfEveryProcessFollowTheJoint) {
  for (const auto& named : processes()) {
    ExactDenoiser exact(named.process);
    const auto result = fill(TokenGrid::all_masked(2000, kGrid, kCodes), exact, options_of(named, kSteps));
    EXPECT_LT(chi_square(result.grid.flat()), kQuantile999) << named.name;
    EXPECT_EQ(result.report.steps, kSteps) << named.name;
  }
}

TEST(ProcessSampling, TheCorrectorLeavesTheMarginalsOfEveryProcessAsTheyAre) {
  // Cells that do not depend on each other: drawing several of them at once costs nothing, so that every share of the
  // corrector has to end in the joint, however few steps there are.
  const auto cell = torch::tensor({0.5, 0.2, 0.3}, torch::kFloat64);
  const auto apart = cell.unsqueeze(1) * torch::tensor({0.1, 0.6, 0.3}, torch::kFloat64);
  for (const auto& named : processes()) {
    ExactDenoiser exact(named.process, apart);
    for (const double corrector : {0.3, 1.0}) {
      auto options = options_of(named, 6);
      options.own["corrector"] = corrector;
      std::vector<double> masked;
      const auto result = fill(TokenGrid::all_masked(3000, kGrid, kCodes), exact, options, [&](const FillProgress& at) {
        masked.push_back(at.tokens.eq(kCodes).to(torch::kFloat64).mean().item<double>());
        return true;
      });
      EXPECT_LT(chi_square(result.grid.flat(), apart), kQuantile999) << named.name << " " << corrector;
      if (!named.process->has_mask()) continue;
      const auto times = stride_times(named.process->total_steps(), 6);
      for (std::size_t i = 0; i < masked.size(); ++i) {
        const auto marginal = named.process->log_marginal(torch::zeros({1, 1}, torch::kInt64),
                                                          torch::full({1}, times[i + 1], torch::kInt64));
        EXPECT_NEAR(masked[i], marginal.flatten()[-1].exp().item<double>(), 0.03)
            << named.name << " " << corrector << " step " << i;
      }
    }
  }
}

TEST(ProcessSampling, OneStepGivesTheMarginalsAlone) {
  for (const auto& named : processes()) {
    ExactDenoiser exact(named.process);
    const auto result = fill(TokenGrid::all_masked(2000, kGrid, kCodes), exact, options_of(named, 1));
    EXPECT_GT(chi_square(result.grid.flat()), 4 * kQuantile999) << named.name;
    EXPECT_EQ(result.report.steps, 1);
  }
}

TEST(ProcessSampling, StridesMeetEveryTimeOnceAndEndAtZero) {
  EXPECT_EQ(stride_times(4, 4), (std::vector<std::int64_t>{4, 3, 2, 1, 0}));
  EXPECT_EQ(stride_times(100, 4), (std::vector<std::int64_t>{100, 75, 50, 25, 0}));
  EXPECT_EQ(stride_times(10, 400).size(), 11u);
  EXPECT_EQ(stride_times(7, 3), (std::vector<std::int64_t>{7, 5, 2, 0}));
}

TEST(ProcessSampling, KeptCellsStayAndTheOthersFollowTheConditional) {
  for (const auto& named : processes()) {
    ExactDenoiser exact(named.process);
    auto codes = torch::full({3000, 1, 2}, kCodes, torch::kInt64);
    codes.select(2, 0).fill_(1);
    auto options = options_of(named, kSteps);
    const auto filled = fill(TokenGrid(codes, kCodes), exact, options).grid.flat();
    EXPECT_TRUE(filled.select(1, 0).eq(1).all().item<bool>()) << named.name;
    if (std::string(named.name) != "absorbing")
      continue;  // the others see a kept cell as one that may have been replaced
    const auto expected = joint()[1] / joint()[1].sum() * 3000;
    const auto counts = torch::bincount(filled.select(1, 1), {}, kCodes).to(torch::kFloat64);
    EXPECT_LT(((counts - expected).square() / expected).sum().item<double>(), 13.82);  // 2 degrees
  }
}

TEST(ProcessSampling, AnImageIsTheSameWhateverTheBatch) {
  for (const auto& named : processes(20)) {
    ExactDenoiser exact(named.process);
    auto options = options_of(named, 10);
    options.images_per_call = 1;
    for (const char* sampler : {"ancestral", "purity"}) {
      options.sampler = sampler;
      if (!named.process->has_mask() && options.sampler == "purity") continue;
      options.first_image = 0;
      const auto together = fill(TokenGrid::all_masked(6, kGrid, kCodes), exact, options).grid.codes();
      options.first_image = 4;
      const auto apart = fill(TokenGrid::all_masked(2, kGrid, kCodes), exact, options).grid.codes();
      EXPECT_TRUE(together.narrow(0, 4, 2).equal(apart)) << named.name << " " << sampler;
    }
  }
}

TEST(ProcessSampling, AnInterruptedFillGoesOnAsIfItHadNot) {
  for (const auto& named : processes(20)) {
    ExactDenoiser exact(named.process);
    const auto options = options_of(named, 10);
    const auto grid = TokenGrid::all_masked(5, kGrid, kCodes);
    const auto whole = fill(grid, exact, options).grid.codes();
    FillCheckpoint left;
    (void)fill(grid, exact, options, [&](const FillProgress& at) {
      left = {at.tokens.clone(), at.step};
      return at.step < 4;
    });
    EXPECT_EQ(left.step, 4);
    EXPECT_TRUE(fill(grid, exact, options, {}, left).grid.codes().equal(whole)) << named.name;
  }
}

TEST(ProcessSampling, PurityWithoutSharpeningTakesTheMarginalsOfItsCells) {
  // One cell a step, weight 0: the first cell is drawn by its purity, its token by p; the joint is kept.
  const auto named = processes()[1];
  ExactDenoiser exact(named.process);
  auto options = options_of(named, 2);
  options.sampler = "purity";
  options.own["purity"] = 0.0;
  EXPECT_LT(chi_square(fill(TokenGrid::all_masked(3000, kGrid, kCodes), exact, options).grid.flat()), kQuantile999);
  options.own["purity"] = 3.0;
  const auto sharp = fill(TokenGrid::all_masked(3000, kGrid, kCodes), exact, options).grid.flat();
  EXPECT_GT(sharp.select(1, 0).eq(sharp.select(1, 1)).to(torch::kFloat64).mean().item<double>(),
            joint().trace().item<double>() + 0.05);
}

TEST(ProcessSampling, TheBoundIsAboveTheExactLikelihood) {
  for (const auto& named : processes(40)) {
    ExactDenoiser exact(named.process);
    double bound = 0, entropy = 0;
    const std::int64_t repeats = 200;
    for (std::int64_t grid = 0; grid < 9; ++grid) {
      const auto x0 = torch::tensor({grid / 3, grid % 3}).expand({repeats, 2}).contiguous();
      std::vector<torch::Tensor> noised, beliefs;
      for (std::int64_t t = 1; t <= 40; ++t) {
        const auto times = torch::full({repeats}, t, torch::kInt64);
        const auto uniforms = uniform_rows(3, Purpose::training_masks, 0, static_cast<std::uint32_t>(t), repeats, 2);
        noised.push_back(named.process->q_sample(x0, times, uniforms).tokens);
        beliefs.push_back(torch::log_softmax(exact.look_at({noised.back(), torch::arange(2 * repeats), times}), -1)
                              .view({repeats, 2, kCodes}));
      }
      const double p = joint().flatten()[grid].item<double>();
      const auto terms = bound_terms(*named.process, x0, torch::stack(noised), torch::stack(beliefs));
      bound += p * terms.narrow(0, 1, 40).sum(0).mean().item<double>();
      // At T of mask-and-replace a few in a million are not MASK, of which a start from all MASK knows nothing.
      if (std::string(named.name) != "mask-and-replace") bound += p * terms[0].mean().item<double>();
      entropy -= p * std::log(p);
    }
    EXPECT_GT(bound, entropy - 0.02) << named.name;
    EXPECT_LT(bound, entropy + 0.35) << named.name;
  }
}

TEST(ProcessSampling, WrongCombinationsAreNamed) {
  const auto uniform = processes(10)[2];
  ExactDenoiser exact(uniform.process);
  auto options = options_of(uniform, 5);
  options.sampler = "confidence";
  try {
    (void)fill(TokenGrid::all_masked(1, kGrid, kCodes), exact, options);
    FAIL();
  } catch (const std::exception& error) {
    EXPECT_STREQ(error.what(), "sampler 'confidence' with a process without MASK: expected one of ancestral");
  }
  options = options_of(uniform, 5);
  options.process = nullptr;
  EXPECT_THROW((void)fill(TokenGrid::all_masked(1, kGrid, kCodes), exact, options), std::runtime_error);
}

TEST(Truncation, KeepsTheClassThatCrossesTheRate) {
  const auto log_p = torch::tensor({0.5, 0.1, 0.3, 0.1}).log();
  const auto kept = [&](double rate) { return (keep_rate(log_p, rate) > kCut).to(torch::kInt64); };
  EXPECT_TRUE(kept(0.4).equal(torch::tensor({1, 0, 0, 0})));
  EXPECT_TRUE(kept(0.6).equal(torch::tensor({1, 0, 1, 0})));
  EXPECT_TRUE(keep_rate(log_p, 1).equal(log_p));
  EXPECT_TRUE((keep_count(log_p, 2) > kCut).to(torch::kInt64).equal(torch::tensor({1, 0, 1, 0})));
  EXPECT_EQ(cells_to_unmask(5, 0, 3), 3);
  EXPECT_EQ(cells_to_unmask(4, 0, 3), 4);
  EXPECT_EQ(cells_to_unmask(4, 4, 3), 0);
}

}  // namespace process_sampling_test
}  // namespace tessera
