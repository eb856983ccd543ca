/// MaskGIT's sampler: every step draws all masked cells and keeps the most confident. Chang et al., arXiv:2202.04200.
#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "sampling/sampler.h"

namespace tessera {

void sample_confidence(FillState& state) {
  const auto steps = state.options.steps;
  const auto initial = (state.start == state.mask_token).sum(1);
  for (std::int64_t i = 1; i <= steps; ++i) {
    if (state.walked(i)) continue;
    const double done = static_cast<double>(i) / static_cast<double>(steps);
    const auto key = static_cast<std::uint32_t>(i);
    const auto masked = state.tokens == state.mask_token;
    const auto now = masked.sum(1);
    // Cosine schedule: how many cells stay masked after this step; at least one fewer than now, at least one but at the
    // end.
    std::vector<std::int64_t> keep(static_cast<std::size_t>(state.count()), 0);
    auto wanted = masked.clone();
    for (std::int64_t n = 0; n < state.count(); ++n) {
      const auto count = now.data_ptr<std::int64_t>()[n];
      if (i < steps) {
        const double share = std::cos(std::numbers::pi / 2 * done);
        const auto left =
            static_cast<std::int64_t>(std::floor(static_cast<double>(initial.data_ptr<std::int64_t>()[n]) * share));
        keep[n] = std::max<std::int64_t>(1, std::min(count - 1, left));
      }
      if (count <= keep[n]) wanted[n].fill_(false);  // nothing would be revealed
    }
    const auto drawn = state.draw(state.tokens, wanted, key);
    const double noise = state.options.choice_temperature * (1 - done);
    auto* tokens = state.tokens.data_ptr<std::int64_t>();
    std::vector<std::pair<double, std::size_t>> ranked;  // confidence, place in drawn
    for (std::size_t at = 0; at < drawn.cells.size();) {
      const auto image = drawn.cells[at] / state.cells();
      const auto stream = state.stream(image, Purpose::gumbel_noise, key);
      ranked.clear();
      for (; at < drawn.cells.size() && drawn.cells[at] / state.cells() == image; ++at) {
        double confidence = drawn.draws[at].log_probability;
        if (noise > 0) confidence += noise * stream.gumbel(static_cast<std::uint32_t>(drawn.cells[at] % state.cells()));
        ranked.emplace_back(-confidence, at);
      }
      std::sort(ranked.begin(), ranked.end());
      for (std::size_t r = 0; r + static_cast<std::size_t>(keep[image]) < ranked.size(); ++r) {
        tokens[drawn.cells[ranked[r].second]] = drawn.draws[ranked[r].second].token;
      }
    }
    if (!state.advance(i, steps)) return;
  }
}

}  // namespace tessera
