/// Halton-MaskGIT's confidence sampler: MaskGIT's (arXiv:2202.04200), but every step draws the cells anew that earlier
/// steps have filled. Details as in github.com/valeoai/Halton-MaskGIT, Sampler/confidence_sampler.py.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tessera {

/// "arccos", "cosine", "square", "linear", "root".
std::vector<std::string> redraw_schedules();

/// How many cells are filled after steps 1 .. steps, cells that were known at the start among them: f(r) * cells
/// rounded down, at least the number of the step, at most `cells`; r from 0 at the first step to 1 at the last. f(r):
/// 1 - acos(r) / (pi / 2), 1 - cos(r pi / 2), r^2, r or the root of r, in single precision as published.
std::vector<std::int64_t> redraw_filled(const std::string& schedule, std::int64_t cells, std::int64_t steps);

/// The cells that stay: those no less confident than the `count` most confident. ensures: at least `count` of them.
std::vector<bool> surest_cells(const std::vector<double>& confidence, std::int64_t count);

}  // namespace tessera
