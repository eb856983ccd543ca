/// A conditional network as a denoiser: one condition for all pictures, and classifier-free guidance against another.
/// Ho and Salimans, arXiv:2207.12598; on log probabilities as Tang et al., arXiv:2205.16007, section 3.1, eq. 8.
#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "denoiser/conditional_transformer.h"
#include "denoiser/denoiser.h"

namespace tessera {

/// What a fill is conditioned on.
struct Guidance {
  torch::Tensor states, null_states;         // [P, condition_width]: of the prompt, of no (or the negative) prompt
  std::int64_t label = -1, null_label = -1;  // of models with classes; -1: none
  double scale = 1;  // 1: the condition alone; 0: no condition; above 1: away from the null condition
};

/// Where logarithms of probabilities are cut, as published.
inline constexpr double kLogFloor = -70;

/// g = u + scale (c - u), less its logsumexp. In: log p(x_0) without and with the condition [.., K], scale. The three
/// are held in [-70, 0] as published.
torch::Tensor guided(const torch::Tensor& unconditional, const torch::Tensor& conditional, double scale);

class GuidedDenoiser : public Denoiser {
 public:
  explicit GuidedDenoiser(ConditionalTransformer network) : network_(std::move(network)) {}

  /// Throws Error where the states or the label do not fit the network.
  void set_guidance(const Guidance& guidance);
  const Guidance& guidance() const { return guidance_; }
  const ConditionalTransformer& network() const { return network_; }

  std::int64_t codebook_size() const override { return network_->options().codebook_size; }
  torch::Device device() const override { return network_->device(); }
  bool sees_time() const override { return true; }
  void begin_times(const torch::Tensor& t) override { times_ = t; }
  /// Logarithms of the guided probabilities, normalised: [M, K] float32. Both halves go through the network as one
  /// batch.
  torch::Tensor logits_at(const torch::Tensor& tokens, const torch::Tensor& rows) override;

 private:
  ConditionalTransformer network_;
  Guidance guidance_;
  torch::Tensor times_;  // [1] or [N]
};

}  // namespace tessera
