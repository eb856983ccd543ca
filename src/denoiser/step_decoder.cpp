#include "denoiser/step_decoder.h"

#include "runtime/error.h"

namespace tessera {

torch::Tensor StepEvaluator::logits(const Look&) {
  fail("denoiser: found a network that decodes a time step cell by cell, expected one that predicts open cells");
}

StepEvaluator& as_step_evaluator(Evaluator& evaluator) {
  auto* own = dynamic_cast<StepEvaluator*>(&evaluator);
  require(own != nullptr, "denoiser: found another network, expected one that decodes time steps cell by cell");
  return *own;
}

}  // namespace tessera
