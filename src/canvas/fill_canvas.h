/// `fill` on a grid of any extent: as it is where the grid is the network's own, through windows elsewhere.
#pragma once

#include "canvas/windowed_denoiser.h"
#include "sampling/fill.h"

namespace tessera {

/// In: native, the extent that the network was trained on. The report's evaluations count windows.
/// An autoregressive network takes part where it can: on its own extent, where the cells to be filled come after all
/// others in row-major order. Throws UsageError saying why it cannot elsewhere.
FillResult fill_canvas(const TokenGrid& grid, Denoiser& denoiser, Extent native, const FillOptions& options,
                       const WindowOptions& windows = {}, const StepCallback& on_step = {},
                       const FillCheckpoint& from = {});

}  // namespace tessera
