/// Guidance over time: what share of it each look has, for both guidances.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "denoiser/context_guidance.h"
#include "runtime/error.h"
#include "sampling/exact_tables.h"
#include "sampling/registry.h"

namespace tessera {
namespace guidance_test {

using testing::example_joint;
using testing::kTableCodes;
using testing::kTableGrid;
using testing::TableDenoiser;

FillOptions scheduled(const std::string& schedule, OptionValues own = {}) {
  FillOptions options;
  options.sampler = "raster";
  options.steps = 4;
  options.guidance_schedule = schedule;
  options.own = std::move(own);
  return options;
}

TEST(GuidanceSchedule, SharesAreTheirFormulas) {
  EXPECT_EQ(guidance_share(scheduled("constant"), 0), 1);
  EXPECT_DOUBLE_EQ(guidance_share(scheduled("linear"), 0.25), 0.25);
  EXPECT_DOUBLE_EQ(guidance_share(scheduled("linear", {{"guidance_power", 2.0}}), 0.25), 0.0625);
  EXPECT_NEAR(guidance_share(scheduled("cosine"), 0.5), 0.5, 1e-12);
  EXPECT_NEAR(guidance_share(scheduled("cosine", {{"guidance_power", 4.0}}), 0.5), (1 - std::cos(M_PI / 16)) / 2,
              1e-12);
  const auto interval = scheduled("interval", {{"guidance_from", 0.2}, {"guidance_to", 0.6}});
  EXPECT_EQ(guidance_share(interval, 0.1), 0);
  EXPECT_EQ(guidance_share(interval, 0.2), 1);
  EXPECT_EQ(guidance_share(interval, 0.6), 1);
  EXPECT_EQ(guidance_share(interval, 0.7), 0);
  for (const auto& entry : guidance_schedules().entries())
    EXPECT_EQ(guidance_share(scheduled(entry.name), 1), 1) << entry.name;
}

/// Notes the share of guidance of each look.
class Watched : public TableDenoiser {
 public:
  Watched() : TableDenoiser(example_joint(), false) {}
  torch::Tensor look_at(const Look& look) override {
    shares.push_back(look.guidance.empty() ? -1 : look.guidance.at(0));
    return TableDenoiser::look_at(look);
  }
  std::vector<double> shares;
};

TEST(GuidanceSchedule, EveryLookKnowsWhatShareOfTheImageIsKnown) {
  Watched watched;
  (void)fill(TokenGrid::all_masked(1, kTableGrid, kTableCodes), watched, scheduled("linear"));
  EXPECT_EQ(watched.shares, (std::vector<double>{0, 0.25, 0.5, 0.75}));
  watched.shares.clear();
  (void)fill(TokenGrid::all_masked(1, kTableGrid, kTableCodes), watched, scheduled("constant"));
  EXPECT_EQ(watched.shares, (std::vector<double>{-1, -1, -1, -1}));
}

TEST(GuidanceSchedule, AnImageOfABatchHasItsOwnShare) {
  Watched watched;
  auto options = scheduled("linear");
  options.images_per_call = 2;
  auto codes = torch::full({2, 2, 2}, kTableCodes, torch::kInt64);
  codes[0][0][0] = 1;
  (void)fill(TokenGrid(codes, kTableCodes), watched, options);
  EXPECT_EQ(watched.shares.front(), 0.25) << "the first image's cell is known";
}

TEST(GuidanceSchedule, ContextGuidanceFollowsIt) {
  TableDenoiser table(example_joint(), false);
  auto tokens = torch::full({2, 4}, kTableCodes, torch::kInt64);
  tokens.select(1, 0).fill_(1);
  const auto rows = torch::tensor({1, 5}, torch::kInt64);
  ContextGuidance three(table, 3, 0), two(table, 2, 0);
  Look look{tokens, rows};
  look.guidance = {1, 0.5};
  const auto scheduled_logits = three.begin()->logits(look);
  const auto whole = testing::logits_of(three, tokens, rows), half = testing::logits_of(two, tokens, rows);
  EXPECT_TRUE(torch::allclose(scheduled_logits[0], whole[0], 1e-5, 1e-5));
  EXPECT_TRUE(torch::allclose(scheduled_logits[1], half[1], 1e-5, 1e-5)) << "1 + 0.5 (3 - 1)";
}

TEST(GuidanceSchedule, OptionsOfAnotherScheduleAreRefusedByName) {
  SamplingOptions options;
  options.set("guidance_schedule", "linear").set("guidance_from", 0.3);
  try {
    options.require_used(samplers().at("mlm"), "text", true);
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_STREQ(error.what(),
                 "guidance_from is 0.3, but guidance schedule 'linear' does not use it, expected interval");
  }
  options.set("guidance_schedule", "interval");
  EXPECT_NO_THROW(options.require_used(samplers().at("mlm"), "text", true));
}

TEST(GuidanceSchedule, RecordsHoldItWhereItIsUsed) {
  EXPECT_FALSE(scheduled("constant").used().has("guidance_schedule"));
  const auto used = scheduled("cosine", {{"guidance_power", 3.0}}).used();
  EXPECT_EQ(used.get<std::string>("guidance_schedule"), "cosine");
  EXPECT_EQ(used.get<double>("guidance_power"), 3.0);
  EXPECT_FALSE(used.has("guidance_from"));
  FillOptions again;
  again.take(used);
  EXPECT_EQ(again.guidance_schedule, "cosine");
  EXPECT_EQ(again.number("guidance_power"), 3.0);
}

TEST(Corrector, OfTheAbsorbingShortCutKeepsMarginalsAndEndsInTheJoint) {
  // Independent cells, as in process_sampling_test.
  const auto cell = torch::tensor({0.5, 0.2, 0.3}, torch::kFloat64);
  auto joint = cell;
  for (int i = 0; i < 3; ++i) joint = joint.unsqueeze(-1) * torch::tensor({0.1, 0.6, 0.3}, torch::kFloat64);
  TableDenoiser table(joint, false);
  for (const double corrector : {0.3, 1.0}) {
    FillOptions options;
    options.sampler = "ancestral";
    options.steps = 5;
    options.own["corrector"] = corrector;
    std::vector<double> masked;
    bool reopened = false;
    torch::Tensor before;
    const auto result =
        fill(TokenGrid::all_masked(3000, kTableGrid, kTableCodes), table, options, [&](const FillProgress& at) {
          masked.push_back(at.tokens.eq(kTableCodes).to(torch::kFloat64).mean().item<double>());
          if (before.defined())
            reopened = reopened || (before.ne(kTableCodes) & at.tokens.eq(kTableCodes)).any().item<bool>();
          before = at.tokens.clone();
          return true;
        });
    EXPECT_LT(testing::chi_square(result.grid.flat(), joint), 124.8) << corrector;
    ASSERT_EQ(masked.size(), 5u);
    for (std::size_t i = 0; i < 5; ++i) EXPECT_NEAR(masked[i], 1 - 0.2 * static_cast<double>(i + 1), 0.02) << i;
    EXPECT_TRUE(reopened) << "known cells are drawn anew";
  }
}

TEST(Corrector, KeptCellsStay) {
  TableDenoiser table(example_joint(), false);
  auto codes = torch::full({200, 2, 2}, kTableCodes, torch::kInt64);
  codes.select(1, 0).fill_(2);
  FillOptions options;
  options.sampler = "ancestral";
  options.steps = 8;
  options.own["corrector"] = 0.5;
  const auto filled = fill(TokenGrid(codes, kTableCodes), table, options).grid.codes();
  EXPECT_TRUE(filled.select(1, 0).eq(2).all().item<bool>());
  EXPECT_EQ(filled.eq(kTableCodes).sum().item<std::int64_t>(), 0);
}

}  // namespace guidance_test
}  // namespace tessera
