/// Halton-MaskGIT's sampler: cells in the order of a Halton sequence, a number of them at every step that is decided
/// beforehand, logits multiplied by a factor that grows. Besnier et al., "Halton scheduler for masked generative image
/// transformer", arXiv:2503.17076, section 3.3; details as in github.com/valeoai/Halton-MaskGIT.
#pragma once

#include <cstdint>
#include <vector>

namespace tessera {

/// Cells of the order that are filled after steps 1 .. steps: max(step, cells (1 - acos(step / steps) / (pi / 2)))
/// rounded down, in single precision as published; at most `cells`.
std::vector<std::int64_t> halton_filled(std::int64_t cells, std::int64_t steps);

/// What logits are multiplied with.
struct LogitScale {
  double first = 1, last = 1.2;  // at the first and the last step, at even distances between them
  double power = 1;              // of that
  std::int64_t warmup = 0;       // so many steps at the start have half of it
};
/// Of steps 1 .. steps, in single precision as published.
std::vector<double> logit_scales(const LogitScale& scale, std::int64_t steps);

}  // namespace tessera
