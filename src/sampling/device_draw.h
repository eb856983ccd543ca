/// draw_token for many rows at once where the logits are, on a GPU: only the drawn tokens cross to the host.
#pragma once

#include <torch/torch.h>

#include "sampling/draw.h"

namespace tessera {

/// true: draw_tokens knows these options (temperature alone).
bool draws_on_device(const DrawOptions& options);

struct DrawnTokens {
  torch::Tensor tokens;           // [M] int64
  torch::Tensor log_probability;  // [M] float64, as TokenDraw has it; NaN where the logits were not finite
};

/// draw_token of every row, in float64; the sums may differ from its own in their last bits. In: logits [M, K],
/// uniforms [M] float64 in (0, 1) on the same device. Out: on that device.
DrawnTokens draw_tokens(const torch::Tensor& logits, const torch::Tensor& uniforms, const DrawOptions& options);

}  // namespace tessera
