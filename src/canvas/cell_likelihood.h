/// How likely each cell's code is, given the others: what does not fit a picture stands out.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "canvas/windowed_denoiser.h"
#include "diffusion/process.h"

namespace tessera {

struct CellLikelihoodOptions {
  // Cells that are hidden from the network together lie so far apart, down and across: spacing^2 looks at a grid. 0:
  // each cell by itself, given all others, in as many looks as it has cells. Autoregressive networks take no notice.
  std::int64_t spacing = 0;
  std::int64_t per_call = 16;  // grids in one network call
  WindowOptions windows;       // of grids larger than the network's own
  // What each grid is to show, or one condition for all; empty: nothing.
  std::vector<Condition> conditions;
  // Asked before each call; it may throw to give up. None: not asked.
  std::function<void()> before_call;
};

struct CellLikelihood {
  torch::Tensor log_probabilities;  // [N, h, w] float64, nats; 0 where a cell is MASK
  std::int64_t evaluations = 0;     // grids that the network has seen
};

/// In: codes [N, h, w] int64, K where MASK: such cells stay hidden and have no value. process: of a denoiser that sees
/// the time; it is told the one that the hidden cells imply. Of an autoregressive network the value is given the cells
/// before, so that their sum is its exact log likelihood (metrics/prior_likelihood.h); it takes whole grids of its own
/// extent alone. Throws UsageError.
CellLikelihood cell_likelihood(Denoiser& denoiser, Extent native, const torch::Tensor& codes, const Process* process,
                               const CellLikelihoodOptions& options);

}  // namespace tessera
