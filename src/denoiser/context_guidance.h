/// Guidance towards what a grid already shows: the known cells are the condition, the empty grid is the null condition.
/// Classifier-free guidance (Ho and Salimans, arXiv:2207.12598) with the two networks that every un-masking model
/// already is; the cut at codes that the denoiser itself finds plausible is contrastive decoding's (Li et al.,
/// arXiv:2210.15097, eq. 3).
#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "denoiser/denoiser.h"

namespace tessera {

/// A denoiser whose log p(x_0 | x_t) is g = u + scale (c - u), less its logsumexp, with c its own and u what it says of
/// the same cell of a grid of MASK alone. Codes of less than e^-6 of the cell's most probable one are left out: there
/// a small u would decide. It costs one evaluation of one grid for each kind of condition.
class ContextGuidance : public Denoiser {
 public:
  /// total_time: T of the process, where MASK has come to every cell; not used where the denoiser sees no time.
  /// The denoiser is bidirectional, knows MASK and outlives this.
  ContextGuidance(Denoiser& denoiser, double scale, std::int64_t total_time)
      : denoiser_(denoiser), scale_(scale), total_time_(total_time) {}

  std::int64_t codebook_size() const override { return denoiser_.codebook_size(); }
  torch::Device device() const override { return denoiser_.device(); }
  bool sees_time() const override { return denoiser_.sees_time(); }
  /// Its logits are logarithms of the guided probabilities, normalised, at least -70: [M, K] float32.
  std::unique_ptr<Evaluator> begin(const std::vector<Condition>& conditions = {}) override;

 private:
  Denoiser& denoiser_;
  double scale_;
  std::int64_t total_time_;
};

}  // namespace tessera
