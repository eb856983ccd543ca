/// Which rows of a data set a training step sees: a pure function of (seed, step).
#pragma once

#include <torch/torch.h>

#include "runtime/random.h"

namespace tessera {

/// [batch] int64 in [0, count). replacement: uniform draws; else each epoch is another permutation.
torch::Tensor batch_rows(std::int64_t count, std::int64_t batch, Seed seed, std::int64_t step, bool replacement);

}  // namespace tessera
