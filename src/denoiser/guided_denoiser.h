/// A conditional network as a denoiser: a condition for each image, and classifier-free guidance against another.
/// Ho and Salimans, arXiv:2207.12598; on log probabilities as Tang et al., arXiv:2205.16007, section 3.1, eq. 8.
#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "denoiser/conditional_transformer.h"
#include "denoiser/denoiser.h"

namespace tessera {

/// Where logarithms of probabilities are cut, as published.
inline constexpr double kLogFloor = -70;

/// g = u + scale (c - u), less its logsumexp. In: log p(x_0) without and with the condition [.., K], scale. The three
/// are held in [-70, 0] as published.
torch::Tensor guided(const torch::Tensor& unconditional, const torch::Tensor& conditional, double scale);
/// The same with a scale a row, [.., 1].
torch::Tensor guided(const torch::Tensor& unconditional, const torch::Tensor& conditional, const torch::Tensor& scale);

/// log p(x_0) of logits [.., K] as guidance takes them: log-softmax in double, float32, held in [-70, 0].
torch::Tensor log_probabilities(const torch::Tensor& logits);

/// Throws Error where a condition does not fit a network of so many classes (0: none) that reads text states of this
/// width (0: no text), or where its scale is out of range.
void check_condition(const Condition& condition, std::int64_t classes, std::int64_t condition_width);

class GuidedDenoiser : public Denoiser {
 public:
  /// In: none, the condition of images that are given none; a network with text needs its states. Throws Error where it
  /// does not fit the network.
  explicit GuidedDenoiser(ConditionalTransformer network, Condition none = {});

  const ConditionalTransformer& network() const { return network_; }
  const Condition& none() const { return none_; }

  std::int64_t codebook_size() const override { return network_->options().codebook_size; }
  torch::Device device() const override { return network_->device(); }
  std::int64_t parameter_count() const override { return network_->parameter_count(); }
  bool sees_time() const override { return true; }
  /// Its logits are logarithms of the guided probabilities, normalised: [M, K] float32. Rows with and without their
  /// condition go through the network as one batch; keys and values of the texts are computed here, once.
  std::unique_ptr<Evaluator> begin(const std::vector<Condition>& conditions = {}) override;

 private:
  ConditionalTransformer network_;
  Condition none_;
};

}  // namespace tessera
