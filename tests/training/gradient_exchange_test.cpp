#include "training/gradient_exchange.h"

#include <gtest/gtest.h>

namespace tessera {
namespace gradient_exchange_test {

/// Two parameters that are used, one of them by some shards alone, and one that is not.
struct Parameters {
  torch::Tensor always = torch::tensor({1.F, 2.F, 3.F}, torch::requires_grad());
  torch::Tensor by_odd = torch::tensor({4.F}, torch::requires_grad());
  torch::Tensor never = torch::tensor({5.F, 6.F}, torch::requires_grad());

  std::vector<torch::Tensor> all() const { return {always, by_odd, never}; }
  torch::Tensor loss(std::int64_t shard) const {
    const auto factor = 1 + static_cast<double>(shard) / 7;
    const auto value = (always * always).sum() * factor;
    return shard % 2 == 1 ? value + by_odd.sum() * factor : value;
  }
};

void run(const Parameters& parameters, torch::ScalarType type) {
  GradientExchange exchange(std::make_shared<const Ranks>(), 4, parameters.all(), {}, type);
  for (std::int64_t shard = 0; shard < 4; ++shard) exchange.add(shard, [&] { parameters.loss(shard).backward(); });
  exchange.finish();
}

TEST(GradientExchange, GivesTheMeanOverAllShardsWhereAnyHasAGradient) {
  const Parameters parameters;
  run(parameters, torch::kFloat32);
  const double factors = 1 + (0 + 1 + 2 + 3) / 4.0 / 7, odd = (1 + 1.0 / 7 + 1 + 3.0 / 7) / 4;
  EXPECT_TRUE(torch::allclose(parameters.always.grad(), 2 * parameters.always.detach() * factors));
  EXPECT_NEAR(parameters.by_odd.grad().item<double>(), odd, 1e-6);
  EXPECT_FALSE(parameters.never.grad().defined());
}

TEST(GradientExchange, RoundsEveryNodeOfTheTree) {
  const Parameters parameters;
  run(parameters, torch::kBFloat16);
  const auto of_shard = [&](std::int64_t shard) {
    return torch::autograd::grad({parameters.loss(shard)}, {parameters.always})[0].to(torch::kBFloat16);
  };
  const auto sum = (of_shard(0) + of_shard(1)) + (of_shard(2) + of_shard(3));
  EXPECT_TRUE(torch::equal(parameters.always.grad(), sum.to(torch::kFloat32) / 4));
}

TEST(GradientExchange, TakesWhatLiesInTheGradientsOnce) {
  const Parameters parameters;
  run(parameters, torch::kFloat32);
  const auto first = parameters.always.grad().clone();
  for (const auto& parameter : parameters.all()) parameter.mutable_grad().reset();
  run(parameters, torch::kFloat32);
  EXPECT_TRUE(torch::equal(parameters.always.grad(), first));
}

}  // namespace gradient_exchange_test
}  // namespace tessera
