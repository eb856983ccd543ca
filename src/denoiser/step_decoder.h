/// What networks say whose every step back in time goes cell by cell: p(x_{t-1} of a cell | its cells before, x_t).
/// Esser et al., "ImageBART", arXiv:2108.08827, section 3.2.
#pragma once

#include <memory>
#include <vector>

#include "denoiser/denoiser.h"

namespace tessera {

struct StepLook {
  torch::Tensor noised;   // [N, L] int64: x_t
  std::int64_t time = 1;  // t, in 1..T
  // log q(x_t | x_{t-1} = j) of a cell: where j is its code in x_t, and where it is any other.
  double log_same = 0, log_other = 0;
  std::vector<std::int64_t> conditions = {};  // as Look::conditions
};

/// Has no logits of cells whose neighbours are unknown; x_{t-1} alone.
class StepEvaluator : public Evaluator {
 public:
  torch::Tensor logits(const Look& look) override;
  /// Starts decoding x_{t-1} of the rows of x_t.
  virtual std::unique_ptr<Decoding> decode_step(const StepLook& look) = 0;
  /// The same in one pass, for given x_{t-1} [N, L]: logits [N, L, K]; entry i predicts cell i.
  virtual torch::Tensor step_logits(const StepLook& look, const torch::Tensor& before) = 0;
};

/// Throws Error where the evaluator is another.
StepEvaluator& as_step_evaluator(Evaluator& evaluator);

}  // namespace tessera
