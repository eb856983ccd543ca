/// A denoiser of a test that is one function of a look: no conditions, nothing kept.
#pragma once

#include <memory>
#include <vector>

#include "denoiser/denoiser.h"

namespace tessera::testing {

class PlainDenoiser : public Denoiser {
 public:
  virtual torch::Tensor look_at(const Look& look) = 0;
  virtual std::unique_ptr<Decoding> decoding(std::int64_t) { return nullptr; }

  std::unique_ptr<Evaluator> begin(const std::vector<Condition>& = {}) override {
    return std::make_unique<Asked>(*this);
  }

 private:
  class Asked : public Evaluator {
   public:
    explicit Asked(PlainDenoiser& denoiser) : denoiser_(denoiser) {}
    torch::Tensor logits(const Look& look) override { return denoiser_.look_at(look); }
    std::unique_ptr<Decoding> decode(std::int64_t count, const std::vector<std::int64_t>&) override {
      auto own = denoiser_.decoding(count);
      return own ? std::move(own) : Evaluator::decode(count);
    }

   private:
    PlainDenoiser& denoiser_;
  };
};

/// One look of any denoiser, under no condition.
inline torch::Tensor logits_of(Denoiser& denoiser, const torch::Tensor& tokens, const torch::Tensor& rows,
                               const torch::Tensor& times = {}) {
  return denoiser.begin()->logits(Look{tokens, rows, times});
}

}  // namespace tessera::testing
