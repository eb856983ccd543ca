/// Cell by cell in row-major order with the network's key and value cache. Known cells are passed through, not drawn.
#include <algorithm>

#include "sampling/registry.h"

namespace tessera {

static void sample_autoregressive(FillState& state) {
  const auto size = state.images_per_call(), cells = state.cells();
  const auto groups = state.groups();
  auto* tokens = state.tokens.data_ptr<std::int64_t>();
  std::int64_t steps = 0, step = 0;
  std::vector<std::int64_t> ends;  // one past the last masked cell of each group
  for (const auto& group : groups) {
    std::int64_t end = 0;
    for (auto at = group.first * cells; at < group.last * cells; ++at) {
      if (tokens[at] == state.mask_token) end = std::max(end, at % cells + 1);
    }
    ends.push_back(end);
    steps += end;
  }
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const auto& group = groups[g];
    if (ends[g] == 0) continue;
    const auto decoding = state.evaluator().decode(size, state.conditions_of(group, size));
    torch::Tensor previous;
    for (std::int64_t cell = 0; cell < ends[g] && !state.abandoned(group); ++cell) {
      // What is known grows by a cell of every image alike; places of no image do not count.
      const auto shares = state.guidance_of(state.tokens.narrow(0, group.first, 1), 0);
      if (!shares.empty()) decoding->guide(std::vector<double>(static_cast<std::size_t>(size), shares.front()));
      const auto logits = decoding->advance(previous);
      state.report.evaluations += group.last - group.first;
      std::vector<std::int64_t> at, places;
      for (auto image = group.first; image < group.last; ++image) {
        if (tokens[image * cells + cell] != state.mask_token) continue;
        at.push_back(image * cells + cell);
        places.push_back(image - group.first + group.offset);
      }
      if (!at.empty()) {
        FillState::Draws draws;
        state.draw_rows(logits.index_select(0, torch::tensor(places).to(logits.device())), at,
                        static_cast<std::uint32_t>(cell), draws);
        state.write(draws);
      }
      previous = torch::zeros({size}, torch::kInt64);  // absent images decode code 0
      previous.narrow(0, group.offset, group.last - group.first)
          .copy_(state.tokens.narrow(0, group.first, group.last - group.first).select(1, cell));
      if (!state.advance(++step, steps)) return;
    }
  }
}

SamplerEntry autoregressive_sampler() {
  SamplerEntry entry{"autoregressive", "cell by cell, each given those before it", sample_autoregressive};
  entry.causal = true;
  entry.takes_steps = false;
  return entry;
}

}  // namespace tessera
