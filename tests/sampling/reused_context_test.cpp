/// Fills of which some steps reuse keys and values: when evaluations are full, resuming, and what refuses the option.
#include <gtest/gtest.h>

#include "runtime/error.h"
#include "sampling/fill.h"
#include "sampling/registry.h"
#include "support/tiny_network.h"

namespace tessera {
namespace reused_context_test {

constexpr std::int64_t kCodes = 7;
constexpr Extent kGrid{4, 4};

/// A network whose looks in context are written down.
class Watched : public Denoiser {
 public:
  explicit Watched(Transformer network) : network_(std::move(network)) {}
  std::int64_t codebook_size() const override { return network_->codebook_size(); }
  std::unique_ptr<Evaluator> begin(const std::vector<Condition>& conditions) override {
    class Inner : public ContextEvaluator {
     public:
      Inner(Watched& owner, std::unique_ptr<Evaluator> inner) : owner_(owner), inner_(std::move(inner)) {}
      torch::Tensor logits(const Look& look) override { return inner_->logits(look); }
      torch::Tensor logits_in_context(const Look& look, ContextUse use) override {
        owner_.seen.push_back(use);
        return dynamic_cast<ContextEvaluator&>(*inner_).logits_in_context(look, use);
      }

     private:
      Watched& owner_;
      std::unique_ptr<Evaluator> inner_;
    };
    return std::make_unique<Inner>(*this, network_->begin(conditions));
  }

  std::vector<ContextUse> seen;

 private:
  Transformer network_;
};

Transformer network() {
  return testing::tiny_network(TransformerKind::bidirectional, kCodes, kGrid, 3, 3);
}

FillOptions options_of(std::int64_t reused, const std::string& sampler = "halton") {
  FillOptions options;
  options.sampler = sampler;
  options.steps = 8;
  options.seed = 4;
  options.own["reused_context_steps"] = reused;
  return options;
}

TokenGrid grids(std::int64_t count) {
  auto codes = torch::full({count, kGrid.h, kGrid.w}, kCodes, torch::kInt64);
  if (count > 1) codes[1].narrow(0, 0, 2).fill_(3);
  return {codes, kCodes};
}

TEST(ReusedContext, EveryNthEvaluationIsAFullOne) {
  Watched watched(network());
  std::vector<std::int64_t> reported;
  const auto report = fill(grids(1), watched, options_of(2), [&](const FillProgress& at) {
                        reported.push_back(at.step);
                        return true;
                      }).report;
  using enum ContextUse;
  EXPECT_EQ(watched.seen, (std::vector<ContextUse>{keep, reuse, reuse, keep, reuse, reuse, keep, reuse}));
  EXPECT_EQ(reported, (std::vector<std::int64_t>{3, 6, 8})) << "a fill may be left before a full evaluation";
  EXPECT_EQ(report.evaluations, 8);
}

TEST(ReusedContext, NoneIsTheOrdinaryFill) {
  auto plain = network();
  Watched watched(plain);
  const auto off = fill(grids(3), watched, options_of(0));
  EXPECT_TRUE(watched.seen.empty());
  auto options = options_of(0);
  options.own.clear();
  EXPECT_TRUE(off.grid.codes().equal(fill(grids(3), *plain, options).grid.codes()));
}

TEST(ReusedContext, AnImageIsTheSameWhateverIsFilledWithIt) {
  auto plain = network();
  for (const auto* sampler : {"halton", "confidence", "mlm", "purity"}) {
    auto options = options_of(2, sampler);
    options.images_per_call = 4;  // one in a call all the same
    const auto together = fill(grids(3), *plain, options).grid.codes();
    for (std::int64_t n = 0; n < 3; ++n) {
      options.first_image = static_cast<std::uint64_t>(n);
      const TokenGrid own(grids(3).codes().narrow(0, n, 1), kCodes);
      EXPECT_TRUE(fill(own, *plain, options).grid.codes()[0].equal(together[n])) << sampler << ", image " << n;
    }
  }
}

TEST(ReusedContext, GoingOnGivesWhatTheUnbrokenFillGives) {
  auto plain = network();
  for (const auto* sampler : {"halton", "confidence", "amused", "masked"}) {
    const auto options = options_of(2, sampler);
    std::vector<FillCheckpoint> points;
    const auto whole = fill(grids(3), *plain, options, [&](const FillProgress& at) {
      points.push_back({at.tokens.clone(), at.step});
      return true;
    });
    ASSERT_GE(points.size(), 2U) << sampler;
    for (const auto& point : points) {
      EXPECT_TRUE(fill(grids(3), *plain, options, {}, point).grid.codes().equal(whole.grid.codes()))
          << sampler << " from step " << point.step;
    }
  }
}

TEST(ReusedContext, IsRefusedWhereItMeansNothing) {
  const auto refusal = [](const char* sampler) -> std::string {
    const SamplingOptions given = SamplingOptions().set("sampler", sampler).set("reused_context_steps", 2);
    try {
      given.require_used(samplers().at(sampler), "class", true);
      return "";
    } catch (const UsageError& error) {
      return error.what();
    }
  };
  for (const auto* sampler : {"redraw", "autoregressive", "ancestral", "chain"}) {
    EXPECT_EQ(
        refusal(sampler).find(fmt::format("reused_context_steps is 2, but sampler '{}' does not use it", sampler)), 0U)
        << refusal(sampler);
  }
  EXPECT_EQ(refusal("halton"), "");
  /// A network without keys and values.
  class Flat : public Denoiser {
   public:
    std::int64_t codebook_size() const override { return kCodes; }
    std::unique_ptr<Evaluator> begin(const std::vector<Condition>&) override {
      class Even : public Evaluator {
        torch::Tensor logits(const Look& look) override { return torch::zeros({look.rows.size(0), kCodes}); }
      };
      return std::make_unique<Even>();
    }
  } flat;
  EXPECT_NO_THROW((void)fill(grids(1), flat, options_of(0)));
  EXPECT_THROW((void)fill(grids(1), flat, options_of(1)), UsageError);
  EXPECT_THROW(options_of(65).validate(), UsageError);
  EXPECT_EQ(options_of(3).used().get<std::int64_t>("reused_context_steps"), 3);
  EXPECT_FALSE(options_of(0).used().has("reused_context_steps"));
}

}  // namespace reused_context_test
}  // namespace tessera
