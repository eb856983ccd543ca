/// The closed form of the objective against the one over all states, and its gradient against autograd's.
#include "diffusion/even_objective.h"

#include <gtest/gtest.h>

#include <memory>

#include "diffusion/absorbing.h"
#include "diffusion/mask_replace.h"
#include "diffusion/structured.h"
#include "runtime/error.h"

namespace tessera {
namespace even_objective_test {

constexpr std::int64_t kCodes = 11, kSteps = 8, kRows = 3, kCells = 6;

struct Named {
  std::string name;
  std::shared_ptr<Process> process;
};

std::vector<Named> even_processes() {
  return {{"published", std::make_shared<MaskReplaceProcess>(kCodes, kSteps)},
          {"more replacement",
           std::make_shared<MaskReplaceProcess>(kCodes, kSteps, MaskReplaceSchedule{0.95, 0.02, 0.03, 0.6})},
          {"uniform", std::make_shared<MaskReplaceProcess>(MaskReplaceProcess::uniform(kCodes, kSteps))},
          {"absorbing chain", std::make_shared<MaskReplaceProcess>(MaskReplaceProcess::absorbing(kCodes, kSteps))},
          {"absorbing", std::make_shared<AbsorbingProcess>(kCodes, kSteps)}};
}

torch::Generator generator(std::uint64_t seed) {
  return at::detail::createCPUGenerator(seed);
}

/// Cells that are MASK, unchanged and replaced, as far as the process has them.
torch::Tensor some_noised(const Process& process, const torch::Tensor& x0) {
  auto xt = x0.clone();
  xt.narrow(1, 0, 2).fill_(process.has_mask() ? kCodes : 4);
  const bool replaces = process.even_step(0, kSteps - 1)->beta > 0;
  if (replaces) xt.narrow(1, 2, 2).copy_((x0.narrow(1, 2, 2) + 3) % kCodes);
  return xt;
}

struct Both {
  ObjectiveTerms whole;
  ObjectiveSums closed;
  torch::Tensor whole_gradient, closed_gradient;  // [N, L, K]
};

Both compute(const Process& process, const ObjectiveOptions& options, const torch::Tensor& values,
             const torch::Tensor& t) {
  const auto x0 = torch::randint(kCodes, {kRows, kCells}, generator(3), torch::kInt64);
  const auto xt = some_noised(process, x0);
  const auto chance = torch::tensor({0.25, 0.5, 1.0});
  const auto first = values.clone().requires_grad_(), second = values.clone().requires_grad_();
  Both both{objective(process, options, x0, xt, log_x0(first), t, chance),
            even_objective(process, options, x0, xt, second, t, chance),
            {},
            {}};
  both.whole.mean().backward();
  both.closed.mean().backward();
  both.whole_gradient = first.grad();
  both.closed_gradient = second.grad();
  return both;
}

void expect_near(const torch::Tensor& got, const torch::Tensor& want, double tolerance, const std::string& what) {
  const auto scale = want.abs().max().clamp_min(1e-6);
  EXPECT_LE(((got - want).abs().max() / scale).item<double>(), tolerance) << what;
}

TEST(EvenObjective, IsTheObjectiveOverAllStatesAtEveryTime) {
  ObjectiveOptions weighted;
  weighted.mask_weight = 0.7;
  weighted.kept_weight = 1.3;
  weighted.auxiliary_weight = 0.01;
  for (const auto& named : even_processes()) {
    for (std::int64_t t = 1; t <= kSteps; ++t) {
      if (t == kSteps && named.process->even_step(0, t)->alpha == 0 && named.process->has_mask()) continue;  // all MASK
      for (const double spread : {1.0, 8.0, 60.0}) {
        const auto values = torch::randn({kRows, kCells, kCodes}, generator(7), torch::kFloat64) * spread;
        const auto times = torch::tensor({t, std::max<std::int64_t>(1, t - 1), std::int64_t{2}});
        const auto what = fmt::format("{} at {} with logits of {}", named.name, t, spread);
        const auto both = compute(*named.process, weighted, values, times);
        expect_near(both.closed.bound, both.whole.bound, 1e-9, what + ", bound");
        expect_near(both.closed.loss, both.whole.loss, 1e-9, what + ", loss");
        expect_near(both.closed_gradient, both.whole_gradient, 1e-9, what + ", gradient");
        const auto single = compute(*named.process, {}, values.to(torch::kFloat), times);
        expect_near(single.closed.bound, single.whole.bound, 1e-4, what + ", bound in float32");
        expect_near(single.closed_gradient, single.whole_gradient, 1e-3, what + ", gradient in float32");
      }
    }
  }
}

/// A code that is there was there at time 0: no logits at it cost or change anything.
TEST(EvenObjective, WhereCodesOnlyBecomeMaskKnownCellsCostNothing) {
  const auto x0 = torch::randint(kCodes, {kRows, kCells}, generator(3), torch::kInt64);
  for (const auto& named : even_processes()) {
    EXPECT_EQ(named.process->only_masks(), named.name.starts_with("absorbing")) << named.name;
    if (!named.process->only_masks()) continue;
    const auto xt = some_noised(*named.process, x0);
    const auto known = (xt != kCodes).unsqueeze(2);
    const auto times = torch::tensor({1, 3, 5});
    const auto values = torch::randn({kRows, kCells, kCodes}, generator(9), torch::kFloat64);
    const auto others = torch::where(known, torch::randn_like(values) * 9, values);
    const auto terms = [&](const torch::Tensor& logits) {
      return objective(*named.process, {}, x0, xt, log_x0(logits), times, torch::ones({kRows}));
    };
    EXPECT_TRUE(torch::equal(terms(values).loss, terms(others).loss)) << named.name;
    const auto logits = values.clone().requires_grad_();
    even_objective(*named.process, {}, x0, xt, logits, times, torch::ones({kRows})).mean().backward();
    EXPECT_EQ(logits.grad().masked_select(known).abs().max().item<double>(), 0) << named.name;
    EXPECT_GT(logits.grad().masked_select(known.logical_not()).abs().max().item<double>(), 0) << named.name;
  }
}

TEST(EvenObjective, AFullMaskHasAFiniteObjective) {
  const auto x0 = torch::randint(kCodes, {kRows, kCells}, generator(3), torch::kInt64);
  for (const auto& named : even_processes()) {
    if (!named.process->has_mask()) continue;
    const auto logits = torch::randn({kRows, kCells, kCodes}, generator(9)).requires_grad_();
    const auto times = torch::full({kRows}, kSteps, torch::kInt64);
    const auto masked = torch::full_like(x0, kCodes);
    const auto sums = even_objective(*named.process, {}, x0, masked, logits, times, torch::ones({kRows}));
    const auto terms = objective(*named.process, {}, x0, masked, log_x0(logits.detach()), times, torch::ones({kRows}));
    expect_near(sums.loss, terms.loss, 1e-4, named.name);
    sums.mean().backward();
    EXPECT_TRUE(logits.grad().isfinite().all().item<bool>()) << named.name;
  }
}

TEST(EvenObjective, OtherProcessesAreComputedOverAllStates) {
  const GaussianProcess gaussian(kCodes, kSteps, 0.05, 0.6);
  const auto logits = torch::randn({kRows, kCells, kCodes}, generator(5));
  EXPECT_FALSE(has_even_objective(gaussian, logits));
  const auto x0 = torch::randint(kCodes, {kRows, kCells}, generator(3), torch::kInt64);
  const auto t = torch::tensor({1, 4, 8}), chance = torch::ones({3});
  const auto sums = objective_sums(gaussian, {}, x0, x0, logits, t, chance);
  EXPECT_TRUE(sums.loss.equal(objective(gaussian, {}, x0, x0, log_x0(logits), t, chance).loss));
  MaskReplaceProcess published(kCodes, kSteps);
  EXPECT_TRUE(has_even_objective(published, logits));
  published.set_impossible(-69);
  EXPECT_FALSE(has_even_objective(published, logits));
}

TEST(EvenObjective, WrongShapesAndTimesAreNamed) {
  const MaskReplaceProcess process(kCodes, kSteps);
  const auto x0 = torch::zeros({2, 3}, torch::kInt64);
  const auto message = [&](const torch::Tensor& logits, const torch::Tensor& t) -> std::string {
    try {
      (void)even_objective(process, {}, x0, x0, logits, t, torch::ones_like(t));
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_EQ(message(torch::zeros({2, 3, kCodes + 1}), torch::tensor({1, 2})),
            "objective: expected x0 and xt [N, L] and logits [N, L, 11]");
  EXPECT_EQ(message(torch::zeros({2, 3, kCodes}), torch::tensor({1, 9})), "objective: time 9, expected 1 to 8");
}

TEST(MaskReplaceProcess, DrawsInClosedFormWhatTheProbabilitiesGive) {
  for (const auto& named : even_processes()) {
    const auto* process = dynamic_cast<const MaskReplaceProcess*>(named.process.get());
    if (!process) continue;
    const auto x0 = torch::arange(kCodes).view({1, kCodes}).repeat({400, 1});
    const auto uniforms = torch::rand({400, kCodes}, generator(13), torch::kFloat64);
    for (std::int64_t t = 0; t <= kSteps; ++t) {
      const auto times = torch::full({400}, t, torch::kInt64);
      const auto drawn = process->q_sample(x0, times, uniforms);
      EXPECT_TRUE(drawn.tokens.equal(draw_states(process->log_marginal(x0, times), uniforms)))
          << named.name << " at " << t;
      EXPECT_TRUE(drawn.changed.equal(drawn.tokens != x0));
    }
  }
}

}  // namespace even_objective_test
}  // namespace tessera
