/// Denoisers whose cells do not depend on each other: what is known of a grid tells nothing of the rest.
#pragma once

#include <torch/torch.h>

#include "denoiser/denoiser.h"

namespace tessera {

/// The likelihood is exact; every sampler draws from the model itself, however many cells it opens at once.
class IndependentDenoiser : public Denoiser {
 public:
  /// log p of each cell's code, [1 or L, K], normalised; minus infinity for a code that cannot be.
  virtual torch::Tensor log_probabilities() const = 0;
};

}  // namespace tessera
