/// The masked cells in row-major order, a run of them at a time, each given everything known by then. With as many
/// steps as masked cells it is exact: the chain rule. The order of the published program's large canvases ("Unleashing
/// Transformers", section 4.5).
#include <algorithm>

#include "sampling/sampler.h"

namespace tessera {

void sample_raster(FillState& state) {
  // Each image walks as many steps as it has cells to fill, whatever the others of the batch have.
  std::vector<std::vector<std::int64_t>> cells(static_cast<std::size_t>(state.count()));
  const auto* tokens = state.start.data_ptr<std::int64_t>();
  std::int64_t longest = 0;
  for (std::int64_t at = 0; at < state.start.numel(); ++at) {
    if (tokens[at] != state.mask_token) continue;
    auto& own = cells[static_cast<std::size_t>(at / state.cells())];
    own.push_back(at);
    longest = std::max(longest, static_cast<std::int64_t>(own.size()));
  }
  const auto steps = std::min(state.options.steps, longest);
  for (std::int64_t step = 1; step <= steps; ++step) {
    if (state.walked(step)) continue;
    std::vector<std::int64_t> now;
    for (const auto& own : cells) {
      const auto count = static_cast<std::int64_t>(own.size());
      const auto own_steps = std::min(state.options.steps, count);
      if (step > own_steps) continue;
      now.insert(now.end(), own.begin() + count * (step - 1) / own_steps, own.begin() + count * step / own_steps);
    }
    state.write(state.draw(state.tokens, now, static_cast<std::uint32_t>(step)));
    if (!state.advance(step, steps)) return;
  }
}

}  // namespace tessera
