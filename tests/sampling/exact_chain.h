/// A small joint distribution of two cells as an exact network of a chain: p(x_{t-1} of a cell | its cells before, x_t)
/// by enumeration of all pairs.
#pragma once

#include <torch/torch.h>

#include <memory>

#include "denoiser/step_decoder.h"
#include "diffusion/process.h"

namespace tessera::testing {

constexpr std::int64_t kChainCodes = 3;

/// A dependent joint of two cells, [3, 3].
inline torch::Tensor chain_joint() {
  const auto table = torch::tensor({6.0, 1.0, 0.5, 0.7, 5.0, 1.5, 0.4, 1.1, 4.0}, torch::kFloat64).view({3, 3});
  return table / table.sum();
}

class ExactChain : public Denoiser {
 public:
  ExactChain(std::shared_ptr<const Process> process, torch::Tensor joint)
      : process_(std::move(process)), joint_(std::move(joint)) {}

  std::int64_t codebook_size() const override { return kChainCodes; }
  bool is_autoregressive() const override { return true; }
  bool sees_time() const override { return true; }
  std::unique_ptr<Evaluator> begin(const std::vector<Condition>& = {}) override {
    return std::make_unique<Asked>(*this);
  }

  /// log p(x_{t-1} | x_t) up to a constant of each row, [N, 3, 3].
  torch::Tensor log_before(const StepLook& look) const {
    const auto codes = torch::arange(kChainCodes).view({kChainCodes, 1});
    const auto earlier = torch::full({kChainCodes}, look.time - 1, torch::kInt64);
    const auto by_then = process_->log_marginal(codes, earlier).squeeze(1).exp();  // [x_0, x_{t-1}]
    const auto marginal = by_then.t().matmul(joint_).matmul(by_then);
    const auto seen = torch::full({look.noised.size(0), 2, kChainCodes}, look.log_other, torch::kFloat64)
                          .scatter(2, look.noised.unsqueeze(2), look.log_same);
    return marginal.log() + seen.select(1, 0).unsqueeze(2) + seen.select(1, 1).unsqueeze(1);
  }

 private:
  class Step : public Decoding {
   public:
    explicit Step(torch::Tensor table) : table_(std::move(table)) {}
    torch::Tensor advance(const torch::Tensor& previous) override {
      if (!previous.defined()) return table_.logsumexp({2}).to(torch::kFloat32);
      const auto at = previous.view({-1, 1, 1}).expand({-1, 1, kChainCodes});
      return table_.gather(1, at).squeeze(1).to(torch::kFloat32);
    }

   private:
    torch::Tensor table_;  // [N, 3, 3]
  };

  class Asked : public StepEvaluator {
   public:
    explicit Asked(const ExactChain& chain) : chain_(chain) {}
    std::unique_ptr<Decoding> decode_step(const StepLook& look) override {
      return std::make_unique<Step>(chain_.log_before(look));
    }
    torch::Tensor step_logits(const StepLook& look, const torch::Tensor& before) override {
      const auto decoding = decode_step(look);
      const auto first = decoding->advance({});
      return torch::stack({first, decoding->advance(before.select(1, 0))}, 1);
    }

   private:
    const ExactChain& chain_;
  };

  std::shared_ptr<const Process> process_;
  torch::Tensor joint_;
};

}  // namespace tessera::testing
