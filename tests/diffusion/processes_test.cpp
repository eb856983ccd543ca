/// Every process against the explicit product of its one-step matrices, at every pair of times on a small state space.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "diffusion/absorbing.h"
#include "diffusion/mask_replace.h"
#include "diffusion/objective.h"
#include "diffusion/structured.h"
#include "runtime/error.h"

namespace tessera {
namespace processes_test {

constexpr std::int64_t kCodes = 5, kSteps = 6;

struct Named {
  std::string name;
  std::shared_ptr<Process> process;
  std::function<torch::Tensor(std::int64_t)> one_step;  // [S, S] float64, written out from the definition
};

torch::Tensor three_way(double alpha, double beta, double gamma, bool mask) {
  const auto states = kCodes + (mask ? 1 : 0);
  auto q = torch::zeros({states, states}, torch::kFloat64);
  q.narrow(0, 0, kCodes).narrow(1, 0, kCodes).fill_(beta);
  for (std::int64_t i = 0; i < kCodes; ++i) q[i][i] += alpha;
  if (mask) {
    q.select(1, kCodes).narrow(0, 0, kCodes).fill_(gamma);
    q[kCodes][kCodes] = 1;
  }
  return q;
}

torch::Tensor some_codebook() {
  return (torch::arange(kCodes * 2, torch::kFloat64) * 2.3).sin().view({kCodes, 2});
}

std::vector<Named> processes() {
  const auto mask_replace =
      std::make_shared<MaskReplaceProcess>(kCodes, kSteps, MaskReplaceSchedule{0.95, 0.02, 0.03, 0.9});
  const auto uniform = std::make_shared<MaskReplaceProcess>(MaskReplaceProcess::uniform(kCodes, kSteps));
  const auto absorbing = std::make_shared<AbsorbingProcess>(kCodes, kSteps);
  const auto gaussian = std::make_shared<GaussianProcess>(kCodes, kSteps, 0.05, 0.6);
  const auto nearest = std::make_shared<NearestEmbeddingProcess>(some_codebook(), kSteps, 2, 12.0);
  return {{"mask-and-replace", mask_replace,
           [](std::int64_t t) {
             const auto line = [](double a, double b, double zero, std::int64_t at) {
               return at == 0 ? zero : a + (b - a) * static_cast<double>(at - 1) / (kSteps - 1);
             };
             const double alpha = line(0.95, 0.02, 1, t) / line(0.95, 0.02, 1, t - 1);
             const double gamma = 1 - (1 - line(0.03, 0.9, 0, t)) / (1 - line(0.03, 0.9, 0, t - 1));
             return three_way(alpha, (1 - alpha - gamma) / kCodes, gamma, true);
           }},
          {"uniform", uniform,
           [](std::int64_t t) {
             const auto level = [](std::int64_t at) {
               return at == kSteps
                          ? 0
                          : std::pow(std::cos((static_cast<double>(at) / kSteps + 0.008) / 1.008 * M_PI / 2), 2);
             };
             const double alpha = level(t) / level(t - 1);
             return three_way(alpha, (1 - alpha) / kCodes, 0, false);
           }},
          {"absorbing", absorbing,
           [](std::int64_t t) {
             const double gamma = 1.0 / static_cast<double>(kSteps - t + 1);
             return three_way(1 - gamma, 0, gamma, true);
           }},
          {"gaussian", gaussian,
           [](std::int64_t t) {
             const double beta = 0.05 + 0.55 * static_cast<double>(t - 1) / (kSteps - 1);
             double sum = 0;
             for (std::int64_t n = 1 - kCodes; n < kCodes; ++n)
               sum += std::exp(-4.0 * static_cast<double>(n * n) / (16 * beta));
             auto q = torch::zeros({kCodes, kCodes}, torch::kFloat64);
             for (std::int64_t i = 0; i < kCodes; ++i) {
               for (std::int64_t j = 0; j < kCodes; ++j) {
                 if (i != j) q[i][j] = std::exp(-4.0 * static_cast<double>((i - j) * (i - j)) / (16 * beta)) / sum;
               }
               q[i][i] = 1 - q[i].sum();
             }
             return q;
           }},
          {"nearest-embedding", nearest, [](std::int64_t t) {
             const auto points = some_codebook();
             auto graph = torch::zeros({kCodes, kCodes}, torch::kFloat64);
             for (std::int64_t i = 0; i < kCodes; ++i) {
               const auto order = (points - points[i]).square().sum(1).argsort();
               for (std::int64_t n = 1; n <= 2; ++n) graph[i][order[n]] = 1;
             }
             auto rates = (graph + graph.t()) / 4;
             for (std::int64_t i = 0; i < kCodes; ++i) rates[i][i] = -rates[i].sum();
             const double a = 12.0 * static_cast<double>(t * t - (t - 1) * (t - 1)) / (kSteps * kSteps);
             return torch::matrix_exp(rates * a);
           }}};
}

/// The product of the steps s+1..t.
torch::Tensor product(const Named& named, std::int64_t s, std::int64_t t) {
  auto q = torch::eye(named.process->states(), torch::kFloat64);
  for (auto step = s + 1; step <= t; ++step) q = q.matmul(named.one_step(step));
  return q;
}

torch::Tensor at(std::int64_t t, std::int64_t rows = 1) {
  return torch::full({rows}, t, torch::kInt64);
}

void expect_close(const torch::Tensor& got, const torch::Tensor& want, const std::string& what) {
  EXPECT_LT((got - want).abs().max().item<double>(), 1e-12) << what;
}

TEST(Processes, TransitionsAreTheProductOfTheMatricesAtEveryPairOfTimes) {
  for (const auto& named : processes()) {
    const auto every = torch::arange(named.process->states()).unsqueeze(0);
    for (std::int64_t t = 0; t <= kSteps; ++t) {
      for (std::int64_t s = 0; s <= t; ++s) {
        const auto what = fmt::format("{} from {} to {}", named.name, s, t);
        const auto q = product(named, s, t);
        expect_close(named.process->log_transition(every, at(s), at(t)).exp()[0], q, what);
        expect_close(named.process->log_likelihood(every, at(s), at(t)).exp()[0], q.t(), what);
      }
      const auto p = torch::softmax((torch::arange(3 * kCodes, torch::kFloat64) * 1.3).cos().view({1, 3, kCodes}), -1);
      expect_close(named.process->log_spread(p.log(), at(t)).exp()[0],
                   p[0].matmul(product(named, 0, t).narrow(0, 0, kCodes)), named.name);
    }
  }
}

TEST(Processes, PosteriorsFollowBayesRuleAtEveryTimeAndStride) {
  for (const auto& named : processes()) {
    const auto states = named.process->states();
    for (std::int64_t t = 1; t <= kSteps; ++t) {
      for (std::int64_t s = 0; s < t; ++s) {
        const auto first = product(named, 0, s), second = product(named, s, t), whole = product(named, 0, t);
        for (std::int64_t x0 = 0; x0 < kCodes; ++x0) {
          for (std::int64_t xt = 0; xt < states; ++xt) {
            if (whole[x0][xt].item<double>() < 1e-25) continue;
            const auto want = first[x0] * second.select(1, xt) / whole[x0][xt];
            const auto got = named.process->log_posterior(torch::tensor({xt}).view({1, 1}),
                                                          torch::tensor({x0}).view({1, 1}), at(s), at(t));
            expect_close(got.exp().flatten(), want, fmt::format("{} {}->{} x0 {} xt {}", named.name, t, s, x0, xt));
          }
        }
      }
    }
  }
}

TEST(Processes, ReverseMixesThePosteriorsByTheDenoisersProbabilities) {
  const auto p = torch::softmax((torch::arange(kCodes, torch::kFloat64) * 2.1).sin() * 2, -1);
  for (const auto& named : processes()) {
    for (std::int64_t t = 1; t <= kSteps; ++t) {
      for (std::int64_t s = 0; s < t; ++s) {
        for (std::int64_t xt = 0; xt < named.process->states(); ++xt) {
          const auto token = torch::tensor({xt}).view({1, 1});
          auto want = torch::zeros({named.process->states()}, torch::kFloat64);
          for (std::int64_t x0 = 0; x0 < kCodes; ++x0) {
            if (product(named, 0, t)[x0][xt].item<double>() < 1e-25) continue;
            want += p[x0] *
                    named.process->log_posterior(token, torch::tensor({x0}).view({1, 1}), at(s), at(t)).exp().flatten();
          }
          const auto got = named.process->log_reverse(token, p.log().view({1, 1, kCodes}), at(s), at(t));
          expect_close(got.exp().flatten(), want, fmt::format("{} {}->{} xt {}", named.name, t, s, xt));
        }
      }
    }
  }
}

TEST(Processes, MixedTimesInABatchAreTheSameAsApart) {
  const auto tokens = torch::tensor({0, 3, 4, 2, 1, 0, 2, 4}).view({4, 2});
  const auto log_p =
      torch::log_softmax((torch::arange(4 * 2 * kCodes, torch::kFloat64) * 0.7).sin().view({4, 2, kCodes}), -1);
  const auto t = torch::tensor({1, 3, 6, 4}), s = torch::tensor({0, 1, 5, 2});
  for (const auto& named : processes()) {
    const auto together = named.process->log_reverse(tokens, log_p, s, t);
    for (std::int64_t n = 0; n < 4; ++n) {
      const auto alone = named.process->log_reverse(tokens.narrow(0, n, 1), log_p.narrow(0, n, 1), s.narrow(0, n, 1),
                                                    t.narrow(0, n, 1));
      EXPECT_TRUE(alone[0].equal(together[n])) << named.name << " row " << n;
    }
  }
}

TEST(Processes, SamplesFollowTheMarginal) {
  const std::int64_t rows = 4000;
  for (const auto& named : processes()) {
    const auto x0 = torch::full({rows, 1}, 2, torch::kInt64);
    for (const std::int64_t t : {1, 3, 6}) {
      const auto uniforms = uniform_rows(5, Purpose::training_masks, 0, static_cast<std::uint32_t>(t), rows, 1);
      const auto noised = named.process->q_sample(x0, at(t, rows), uniforms);
      const auto counts = torch::bincount(noised.tokens.flatten(), {}, named.process->states()).to(torch::kFloat64);
      const auto expected = product(named, 0, t)[2] * rows;
      const auto statistic =
          torch::where(expected > 1e-3, (counts - expected).square() / expected.clamp_min(1e-3), counts * 1e6);
      EXPECT_LT(statistic.sum().item<double>(), 22.46) << named.name << " at " << t;  // 6 degrees at most, 0.999
      EXPECT_TRUE(noised.changed.equal(noised.tokens != x0));
    }
  }
}

TEST(Processes, GradientsOfTheReverseStepAreFinite) {
  for (const auto& named : processes()) {
    for (const std::int64_t t : {1, 2, 6}) {
      auto logits = torch::zeros({1, 2, kCodes}, torch::kFloat32).requires_grad_();
      const auto tokens = torch::tensor({std::int64_t{1}, named.process->states() - 1}).view({1, 2});
      const auto log_p = log_x0(logits);
      const auto terms =
          objective(*named.process, {}, torch::tensor({1, 2}).view({1, 2}), tokens, log_p, at(t), torch::ones({1}));
      terms.mean().backward();
      EXPECT_TRUE(logits.grad().isfinite().all().item<bool>()) << named.name << " at " << t;
      EXPECT_TRUE(terms.mean().isfinite().item<bool>()) << named.name << " at " << t;
    }
  }
}

TEST(Processes, TheBoundOfAnExactDenoiserIsTheLikelihoodForOneCell) {
  // One cell, exact p(x0 | xt) for a known p(x0): the bound in expectation over x_t is the entropy-like sum that
  // telescopes to -log p(x0) on average over p.
  const auto p = torch::tensor({0.4, 0.25, 0.2, 0.1, 0.05}, torch::kFloat64);
  const double entropy = -(p * p.log()).sum().item<double>();
  for (const auto& named : processes()) {
    double mean = 0;
    for (std::int64_t x0 = 0; x0 < kCodes; ++x0) {
      const auto states = named.process->states();
      // Every x_t in turn, weighted by q(x_t | x_0).
      const auto every = torch::arange(states).view({1, states, 1}).expand({kSteps, states, 1}).contiguous();
      std::vector<torch::Tensor> beliefs, chances;
      for (std::int64_t t = 1; t <= kSteps; ++t) {
        const auto q = product(named, 0, t);
        const auto joint = p.unsqueeze(1) * q.narrow(0, 0, kCodes);  // [x0, xt]
        beliefs.push_back((joint / joint.sum(0, true)).t().nan_to_num(0.2).log().view({states, 1, kCodes}));
        chances.push_back(q[x0]);
      }
      const auto tokens = torch::full({states, 1}, x0, torch::kInt64);
      const auto terms = bound_terms(*named.process, tokens, every, torch::stack(beliefs));
      const auto weighted = torch::where(torch::stack(chances) > 0, terms.narrow(0, 1, kSteps) * torch::stack(chances),
                                         torch::zeros({kSteps, states}, torch::kFloat64));
      mean += p[x0].item<double>() * (terms[0][0].item<double>() + weighted.sum().item<double>());
    }
    if (named.name == "absorbing" || named.name == "uniform") {
      EXPECT_NEAR(mean, entropy, 1e-9) << named.name;  // q(x_T) is exactly where the reverse starts
    } else if (named.name == "mask-and-replace") {
      EXPECT_TRUE(std::isinf(mean)) << "at T of this schedule a tenth is not MASK";
    } else {
      EXPECT_GE(mean, entropy - 1e-9) << named.name;
      EXPECT_LT(mean, entropy + 0.2) << named.name;
    }
  }
}

TEST(Processes, StructuredMatricesAreSparseAndComeToUniform) {
  const GaussianProcess gaussian(64, 100);
  EXPECT_LT(gaussian.band(1), 20);
  EXPECT_LT((gaussian.matrix(0, 100) * 64 - 1).abs().max().item<double>(), 1e-2);
  const auto codebook = torch::rand({40, 3}, at::detail::createCPUGenerator(4), torch::kFloat64);
  const NearestEmbeddingProcess nearest(codebook, 20, 6);
  EXPECT_LE(nearest.stored_rates(), 40 * 12);
  EXPECT_LT((nearest.matrix(0, 20) * 40 - 1).abs().max().item<double>(), 2e-3);
  const auto apart = torch::cat({torch::zeros({4, 2}), torch::full({4, 2}, 9.0)});
  try {
    const NearestEmbeddingProcess process(apart + torch::arange(16).view({8, 2}) * 1e-3, 10, 2);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(
        error.what(),
        "nearest-embedding process: with 2 neighbours only 4 of 8 codes are connected; expected more neighbours");
  }
}

}  // namespace processes_test
}  // namespace tessera
