/// A conditional denoiser that begins as a prior trained without a condition: what was learned about grids is kept, and
/// training only has to add what the time and the condition say.
#pragma once

#include "denoiser/conditional_transformer.h"
#include "denoiser/transformer.h"

namespace tessera {

/// Copies an absorbing prior's weights into a network of the same grid, layers, heads and width with exact GELU.
/// The adaptive norms begin as the prior's plain ones whatever the time and class, the cross-attention adds nothing
/// yet, and the positions are the sum of a row and a column nearest to the prior's (least squares). ensures: the
/// network's logits are the prior's, up to what positions lose as such a sum. Of a prior of
/// other codes all is taken but what reads and tells codes, which stays as it was. In: the prior's options and tensors
/// by their names on disk. Throws Error naming the size that differs, beginning with `where`.
void start_from_prior(ConditionalTransformer& network, const TransformerOptions& prior, const TensorMap& tensors,
                      const std::string& where);

}  // namespace tessera
