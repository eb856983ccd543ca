/// The reverse step drawn cell by cell against the one over all states.
#include "diffusion/even_reverse.h"

#include <gtest/gtest.h>

#include <limits>
#include <memory>

#include "diffusion/absorbing.h"
#include "diffusion/mask_replace.h"
#include "diffusion/structured.h"

namespace tessera {
namespace even_reverse_test {

constexpr std::int64_t kCodes = 9, kSteps = 7, kCells = 300;

std::vector<std::pair<std::string, std::shared_ptr<Process>>> even_processes() {
  return {{"published", std::make_shared<MaskReplaceProcess>(kCodes, kSteps)},
          {"more replacement",
           std::make_shared<MaskReplaceProcess>(kCodes, kSteps, MaskReplaceSchedule{0.9, 0.02, 0.05, 0.7})},
          {"uniform", std::make_shared<MaskReplaceProcess>(MaskReplaceProcess::uniform(kCodes, kSteps))},
          {"absorbing", std::make_shared<AbsorbingProcess>(kCodes, kSteps)}};
}

TEST(EvenReverse, DrawsWhatTheProbabilitiesOfAllStatesGiveOverEveryStride) {
  const auto generator = at::detail::createCPUGenerator(8);
  for (const auto& [name, process] : even_processes()) {
    for (std::int64_t t = 1; t <= kSteps; ++t) {
      // At the end of a chain that comes to MASK for sure no code can be met.
      const bool only_mask = process->has_mask() && process->even_step(0, t)->alpha == 0;
      for (std::int64_t s = 0; s < t; ++s) {
        auto log_p = torch::log_softmax(3 * torch::randn({kCells, kCodes}, generator, torch::kFloat64), -1);
        log_p.slice(0, 0, kCells / 3)
            .slice(1, 0, kCodes / 2)
            .fill_(-std::numeric_limits<double>::infinity());  // truncated
        auto xt = torch::randint(process->states(), {kCells}, generator, torch::kInt64);
        if (only_mask) xt.fill_(kCodes);
        // Truncation keeps the code that a cell has: else nothing is possible where codes are never replaced.
        const auto codes = xt.clamp_max(kCodes - 1).unsqueeze(1);
        log_p.scatter_(1, codes,
                       torch::log_softmax(torch::zeros({kCells, kCodes}, torch::kFloat64), -1).narrow(1, 0, 1));
        const auto uniforms = torch::rand({kCells}, generator, torch::kFloat64);
        const auto at = [](std::int64_t time) { return torch::full({1}, time, torch::kInt64); };
        const auto whole = process->log_reverse(xt.unsqueeze(0), log_p.unsqueeze(0), at(s), at(t)).squeeze(0);
        ASSERT_TRUE(has_even_reverse(*process, log_p));
        EXPECT_TRUE(draw_even_reverse(*process, xt, log_p, s, t, uniforms).equal(draw_states(whole, uniforms)))
            << name << " from " << t << " to " << s;
      }
    }
  }
}

TEST(EvenReverse, ACellWhoseCodeWasTruncatedAwayKeepsIt) {
  auto log_p = torch::full({2, kCodes}, -std::numeric_limits<double>::infinity(), torch::kFloat64);
  log_p.select(1, 3).zero_();
  const AbsorbingProcess process(kCodes, kSteps);
  const auto xt = torch::tensor({5, 3});
  EXPECT_TRUE(draw_even_reverse(process, xt, log_p, 2, 4, torch::tensor({0.3, 0.7}, torch::kFloat64)).equal(xt));
}

TEST(EvenReverse, OtherProcessesAndPrecisionsAreLeftToTheGeneralForm) {
  const auto log_p = torch::zeros({2, kCodes}, torch::kFloat64);
  EXPECT_FALSE(has_even_reverse(GaussianProcess(kCodes, kSteps, 0.05, 0.6), log_p));
  EXPECT_FALSE(has_even_reverse(MaskReplaceProcess(kCodes, kSteps), log_p.to(torch::kFloat)));
}

}  // namespace even_reverse_test
}  // namespace tessera
