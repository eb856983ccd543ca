/// Images near a given one: a share of its cells is masked and filled again.
#pragma once

#include <torch/torch.h>

#include "canvas/edit_plan.h"
#include "canvas/windowed_denoiser.h"
#include "diffusion/process.h"
#include "runtime/random.h"

namespace tessera {

/// How many of `cells` a strength in (0, 1] stands for: the nearest whole number, at least 1. Throws UsageError.
std::int64_t cells_of_strength(double strength, std::int64_t cells);

/// A random choice of `count` of the cells in `eligible` [h, w] bool, the same for every call with (seed, image).
torch::Tensor random_cells(const torch::Tensor& eligible, std::int64_t count, Seed seed, std::uint64_t image);

/// Log probability of each cell's token, [h, w] float64, nats: the grid is looked at four times, each time with every
/// second cell of every second row masked, so that a cell is judged by its neighbours. In: codes [h, w] int64 without
/// MASK; process, of a denoiser that sees the time: it is told the one that a quarter of MASK implies.
torch::Tensor token_log_probabilities(Denoiser& denoiser, Extent native, const WindowOptions& windows,
                                      const torch::Tensor& codes, const Process* process = nullptr,
                                      const std::vector<Condition>& conditions = {});

/// The `count` cells of `eligible` whose tokens are least likely; of equal ones the first in row-major order.
torch::Tensor least_likely_cells(const torch::Tensor& log_probabilities, const torch::Tensor& eligible,
                                 std::int64_t count);

/// The plan with these cells [h, w] bool to be filled and the picture's own tokens elsewhere. Throws Error where the
/// plan has none.
EditPlan with_cells(EditPlan plan, const torch::Tensor& cells);

}  // namespace tessera
