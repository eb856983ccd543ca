/// What the faster precisions cost on the model that the repository ships: docs/decisions/int8-denoiser.md quotes
/// these.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <numbers>

#include "data/dataset.h"
#include "denoiser/guided_denoiser.h"
#include "denoiser/transformer.h"
#include "pipeline/pipeline.h"

namespace tessera {
namespace precision_test {

/// Some held-out grids, each with several shares of its cells masked.
struct Questions {
  torch::Tensor x0, tokens;  // [N, L]
  torch::Tensor rows;        // [M] flat masked cells
};

Questions questions(Pipeline& pipeline) {
  DatasetOptions options;
  options.path = std::string(TESSERA_SOURCE_DIR) + "/models/emoji64/examples";
  options.size = pipeline.codec()->options().image_size;
  options.validation_fraction = 0;
  options.use_cache = false;
  const auto grids = pipeline.codec()->encode(Dataset::open(options).images()).codes().flatten(1);  // [16, L]
  constexpr std::int64_t kShares = 4;
  torch::manual_seed(11);
  Questions result;
  result.x0 = grids.repeat({kShares, 1});
  const auto share = (torch::arange(kShares) + 0.5).div(kShares).repeat_interleave(grids.size(0)).unsqueeze(1);
  const auto masked = torch::rand(result.x0.sizes()) < share;
  result.tokens = torch::where(masked, pipeline.prior().codebook_size(), result.x0);
  result.rows = masked.flatten().nonzero().flatten();
  return result;
}

/// Log-probabilities of the masked cells, [M, K] float64.
torch::Tensor answers(Pipeline& pipeline, const Questions& asked, Precision precision) {
  const torch::NoGradGuard no_grad;
  auto& prior = dynamic_cast<TransformerImpl&>(pipeline.prior());
  prior.set_precision(precision);
  return torch::log_softmax(prior.logits_at(asked.tokens, asked.rows).to(torch::kDouble), -1);
}

TEST(Precision, CostsLittleOnTheShippedModel) {
  auto pipeline = Pipeline::load(std::string(TESSERA_SOURCE_DIR) + "/models/emoji64");
  const auto asked = questions(pipeline);
  const auto target = asked.x0.flatten().index_select(0, asked.rows).unsqueeze(1);
  const auto exact = answers(pipeline, asked, Precision::float32);
  const auto bits = [&](const torch::Tensor& answer) {
    return -answer.gather(1, target).mean().item<double>() / std::numbers::ln2;
  };
  fmt::print("{} masked cells of {} grids; float32: {:.4f} bits a masked cell\n", asked.rows.size(0), asked.x0.size(0),
             bits(exact));
  struct Limit {
    const char* name;
    Precision precision;
    double divergence, agreement, bits;
  };
  for (const auto& limit :
       {Limit{"bfloat16", Precision::bfloat16, 1e-3, 0.98, 0.005}, Limit{"int8", Precision::int8, 1e-2, 0.95, 0.02}}) {
    const auto answer = answers(pipeline, asked, limit.precision);
    const double divergence = (exact.exp() * (exact - answer)).sum(1).mean().item<double>();
    const double agreement = (exact.argmax(1) == answer.argmax(1)).to(torch::kDouble).mean().item<double>();
    const double cost = bits(answer) - bits(exact);
    fmt::print("{}: KL {:.2e} nats a cell, the same best code in {:.2f} %, {:+.4f} bits a masked cell\n", limit.name,
               divergence, 100 * agreement, cost);
    EXPECT_LT(divergence, limit.divergence) << limit.name;
    EXPECT_GT(divergence, 0) << limit.name << " is float32";
    EXPECT_GT(agreement, limit.agreement) << limit.name;
    EXPECT_LT(std::abs(cost), limit.bits) << limit.name;
  }
}

}  // namespace precision_test
}  // namespace tessera
