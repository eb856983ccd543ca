#include "canvas/fill_canvas.h"

#include "runtime/error.h"

namespace tessera {
namespace {

/// An autoregressive network sees the cells before, in row-major order, and none after (one that goes back in time sees
/// all cells of the time before).
void require_completion(const TokenGrid& grid) {
  const auto tokens = grid.flat().contiguous();
  const auto* token = tokens.data_ptr<std::int64_t>();
  const auto cells = tokens.size(1), width = grid.extent().w;
  for (std::int64_t image = 0; image < tokens.size(0); ++image) {
    bool masked = false;
    for (std::int64_t cell = 0; cell < cells; ++cell) {
      const bool is_masked = token[image * cells + cell] == grid.mask_token();
      if (masked && !is_masked) {
        throw UsageError(fmt::format(
            "an autoregressive prior can only complete a picture from its top rows: it sees the cells before, in "
            "row-major order, and cell ({}, {}) is kept after one to be filled; use a bidirectional prior",
            cell % width, cell / width));
      }
      masked = masked || is_masked;
    }
  }
}

}  // namespace

FillResult fill_canvas(const TokenGrid& grid, Denoiser& denoiser, Extent native, const FillOptions& options,
                       const WindowOptions& windows, const StepCallback& on_step, const FillCheckpoint& from) {
  if (grid.extent() == native) {
    if (denoiser.is_autoregressive() && !denoiser.sees_time()) require_completion(grid);
    return fill(grid, denoiser, options, on_step, from);
  }
  const auto guided = with_context_guidance(denoiser, options);
  WindowedDenoiser canvas(guided ? *guided : denoiser, native, grid.extent(), windows);
  auto own = options;
  own.context_guidance = 1;
  own.images_per_call = 1;  // one canvas at a time; its windows make the batches
  StepCallback of_canvas;
  if (on_step) {
    of_canvas = [&](FillProgress at) {
      at.evaluations = canvas.evaluations();
      return on_step(at);
    };
  }
  auto result = fill(grid, canvas, own, of_canvas, from);
  result.report.evaluations = canvas.evaluations();
  return result;
}

}  // namespace tessera
