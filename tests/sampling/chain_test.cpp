/// The sampler of chains whose steps go cell by cell, with an exact network: what comes out is the distribution itself.
#include <gtest/gtest.h>

#include <cmath>

#include "diffusion/mask_replace.h"
#include "diffusion/redraw.h"
#include "sampling/exact_chain.h"
#include "sampling/exact_tables.h"
#include "sampling/fill.h"
#include "sampling/registry.h"

namespace tessera {
namespace chain_test {

using testing::ExactChain;

constexpr Extent kGrid{1, 2};
constexpr std::int64_t kCodes = testing::kChainCodes;
constexpr double kQuantile999 = 26.12, kQuantile999OfTwo = 13.82;  // chi-square, 8 and 2 degrees of freedom

struct Chain {
  std::shared_ptr<const Process> process;
  ExactChain network;
};

Chain chain_of(const std::string& schedule, std::int64_t steps, const torch::Tensor& joint = testing::chain_joint()) {
  const auto process = std::make_shared<MaskReplaceProcess>(
      MaskReplaceProcess::uniform(kCodes, kept_by(redraw_schedule(schedule, steps))));
  return {process, ExactChain(process, joint)};
}

FillOptions options_of(const Chain& chain) {
  FillOptions options;
  options.seed = 5;
  options.images_per_call = 500;
  options.process = chain.process;
  return options;
}

double chi_square(const torch::Tensor& counts, const torch::Tensor& expected) {
  const auto wanted = expected.flatten() / expected.sum() * counts.sum();
  return ((counts.to(torch::kFloat64) - wanted).square() / wanted).sum().item<double>();
}

torch::Tensor counts_of(const torch::Tensor& flat) {
  return torch::bincount(flat.select(1, 0) * kCodes + flat.select(1, 1), {}, kCodes * kCodes);
}

TEST(ChainSampler, ExactStepsOfAnyScheduleFollowTheJoint) {
  for (const auto& [schedule, steps] : {std::pair{"geometric", 1}, std::pair{"geometric", 2}, std::pair{"geometric", 4},
                                        std::pair{"alphacum:1,0.6,0.1,0", 3}}) {
    SCOPED_TRACE(schedule);
    auto chain = chain_of(schedule, steps);
    const auto result = fill(TokenGrid::all_masked(4000, kGrid, kCodes), chain.network, options_of(chain));
    EXPECT_EQ(result.report.steps, steps);
    EXPECT_EQ(result.report.evaluations, 4000 * 2 * steps);
    EXPECT_LT(chi_square(counts_of(result.grid.flat()), testing::chain_joint()), kQuantile999);
  }
}

TEST(ChainSampler, ItIsWhatFillsWithoutBeingAskedAndSuitsNoOtherNetwork) {
  EXPECT_EQ(default_sampler(true, false).name, "chain");
  EXPECT_EQ(suitable_samplers(true, true), std::vector<std::string>{"autoregressive"});
  EXPECT_EQ(suitable_samplers(true, false), std::vector<std::string>{"chain"});
}

TEST(ChainSampler, KeptCellsStayAndAreSeenThroughTheChain) {
  auto chain = chain_of("geometric", 3);
  auto codes = torch::full({3000, 1, 2}, kCodes, torch::kInt64);
  codes.select(2, 1).fill_(2);  // kept, after the cell that is drawn
  const auto flat = fill(TokenGrid(codes, kCodes), chain.network, options_of(chain)).grid.flat();
  EXPECT_TRUE(flat.select(1, 1).eq(2).all().item<bool>());
  // Without a look at the kept cell code 2 would come as often as in the marginal.
  const auto joint = testing::chain_joint();
  const double seen = flat.select(1, 0).eq(2).to(torch::kFloat64).mean().item<double>();
  EXPECT_GT(seen, joint.sum(1)[2].item<double>() + 0.05);  // more than five standard errors
  // Where the kept cell tells nothing, the other follows its own distribution.
  const auto cell = torch::tensor({0.5, 0.2, 0.3}, torch::kFloat64);
  auto apart = chain_of("geometric", 3, cell.unsqueeze(1) * torch::tensor({0.1, 0.6, 0.3}, torch::kFloat64));
  const auto free = fill(TokenGrid(codes, kCodes), apart.network, options_of(apart)).grid.flat().select(1, 0);
  EXPECT_LT(chi_square(torch::bincount(free, {}, kCodes), cell), kQuantile999OfTwo);
}

TEST(ChainSampler, ImagesComeOutTheSameInAnySplitAndAfterAnInterruption) {
  auto chain = chain_of("geometric", 3);
  auto options = options_of(chain);
  options.images_per_call = 4;
  const auto grid = TokenGrid::all_masked(10, kGrid, kCodes);
  const auto whole = fill(grid, chain.network, options).grid.codes();
  options.first_image = 6;
  const auto part = fill(TokenGrid::all_masked(3, kGrid, kCodes), chain.network, options).grid.codes();
  EXPECT_TRUE(whole.narrow(0, 6, 3).equal(part));
  options.first_image = 0;
  FillCheckpoint left;
  (void)fill(grid, chain.network, options, [&](const FillProgress& at) {
    left = {at.tokens.clone(), at.step};
    return at.step < 2;
  });
  EXPECT_EQ(left.step, 2);
  EXPECT_TRUE(fill(grid, chain.network, options, {}, left).grid.codes().equal(whole));
}

TEST(ChainSampler, TheTemperatureIsThatOfTheFirstStepAndLaterOnesHaveTheirOwn) {
  auto chain = chain_of("geometric", 2);
  auto options = options_of(chain);
  const auto grid = TokenGrid::all_masked(400, kGrid, kCodes);
  const auto usual = fill(grid, chain.network, options).grid.codes();
  options.draw.temperature = 0;
  const auto cold_start = fill(grid, chain.network, options).grid.codes();
  EXPECT_FALSE(cold_start.equal(usual));
  EXPECT_FALSE(cold_start.eq(cold_start[0]).all().item<bool>()) << "the later step still draws";
  options.own["later_temperature"] = 0.0;
  const auto cold = fill(grid, chain.network, options).grid.codes();
  EXPECT_TRUE(cold.eq(cold[0]).all().item<bool>()) << "nothing is left to chance: x_T is not read at T";
}

TEST(ChainSampler, ANetworkOfAnotherKindIsRefused) {
  auto chain = chain_of("geometric", 2);
  testing::TableDenoiser table(testing::example_joint(), true);
  auto options = options_of(chain);
  EXPECT_THROW((void)fill(TokenGrid::all_masked(1, testing::kTableGrid, testing::kTableCodes), table, options),
               std::runtime_error);
  options.sampler = "chain";
  options.process = nullptr;
  EXPECT_THROW((void)fill(TokenGrid::all_masked(1, testing::kTableGrid, testing::kTableCodes), table, options),
               UsageError);
  options = options_of(chain);
  options.sampler = "autoregressive";
  EXPECT_THROW((void)fill(TokenGrid::all_masked(1, kGrid, kCodes), chain.network, options), UsageError);
}

}  // namespace chain_test
}  // namespace tessera
