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
/// a small u would decide. It costs one evaluation of one grid altogether.
class ContextGuidance : public Denoiser {
 public:
  /// total_time: T of the process, where MASK has come to every cell; not used where the denoiser sees no time.
  /// The denoiser is bidirectional, knows MASK and outlives this.
  ContextGuidance(Denoiser& denoiser, double scale, std::int64_t total_time)
      : denoiser_(denoiser), scale_(scale), total_time_(total_time) {}

  std::int64_t codebook_size() const override { return denoiser_.codebook_size(); }
  torch::Device device() const override { return denoiser_.device(); }
  bool sees_time() const override { return denoiser_.sees_time(); }
  void begin_step(const ImageKey& key, std::uint32_t step) override { denoiser_.begin_step(key, step); }
  void begin_times(const torch::Tensor& t) override;
  /// Logarithms of the guided probabilities, normalised, at least -70: [M, K] float32.
  torch::Tensor logits_at(const torch::Tensor& tokens, const torch::Tensor& rows) override;

 private:
  torch::Tensor empty_grid(std::int64_t cells);

  Denoiser& denoiser_;
  double scale_;
  std::int64_t total_time_;
  torch::Tensor times_;  // as last given
  torch::Tensor empty_;  // [L, K], log p(x_0) of a grid of MASK
};

}  // namespace tessera
