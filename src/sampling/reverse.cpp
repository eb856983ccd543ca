/// The reverse of a process by x_0-parameterisation, in strides. Austin et al., arXiv:2107.03006, section 3.3; Gu et
/// al., arXiv:2111.14822, algorithm 2 and section 4.2 (fast inference).
#include <algorithm>
#include <cmath>

#include "sampling/sampler.h"
#include "sampling/truncation.h"

namespace tessera {

std::vector<std::int64_t> stride_times(std::int64_t total_steps, std::int64_t steps) {
  const auto count = std::min(total_steps, steps);
  std::vector<std::int64_t> times;
  for (auto i = count; i >= 0; --i) times.push_back((2 * i * total_steps + count) / (2 * count));
  return times;
}

std::int64_t implied_time(const Process& process, std::int64_t masked, std::int64_t cells) {
  if (masked == 0) return 0;
  const auto total = process.total_steps();
  const double share = static_cast<double>(masked) / static_cast<double>(cells);
  if (!process.has_mask()) return std::clamp<std::int64_t>(std::llround(share * static_cast<double>(total)), 1, total);
  const auto zero = torch::zeros({1, 1}, torch::kInt64);
  std::int64_t below = 0, above = total;  // the share of MASK grows with time
  while (above - below > 1) {
    const auto middle = (below + above) / 2;
    const double at =
        process.log_marginal(zero, torch::full({1}, middle, torch::kInt64)).flatten()[-1].exp().item<double>();
    (at < share ? below : above) = middle;
  }
  return above;
}

void sample_reverse(FillState& state) {
  const auto& process = *state.options.process;
  const auto& draw = state.options.draw;
  const auto total = process.total_steps(), cells = state.cells();
  const auto times = stride_times(total, state.options.steps);
  const auto steps = static_cast<std::int64_t>(times.size()) - 1;
  const auto free = state.start == state.mask_token;
  const auto masked = free.sum(1);
  // Each image enters at the first time of the strides that is not later than its own MASK cells imply.
  std::vector<std::int64_t> entry;  // index into times
  std::int64_t first = steps;
  for (std::int64_t n = 0; n < state.count(); ++n) {
    const auto time = implied_time(process, masked.data_ptr<std::int64_t>()[n], cells);
    std::int64_t index = 0;
    while (index < steps && times[static_cast<std::size_t>(index + 1)] >= time) ++index;
    entry.push_back(time == 0 ? steps : index);
    first = std::min(first, entry.back());
  }
  if (!process.has_mask() && !state.walked(1)) {
    const auto uniforms = state.uniforms(Purpose::draw_tokens, static_cast<std::uint32_t>(total + 1));
    const auto noise = (uniforms * static_cast<double>(process.codebook_size())).floor().to(torch::kInt64);
    state.tokens = torch::where(free, noise, state.tokens).contiguous();
  }
  const auto* is_free = free.data_ptr<bool>();
  for (auto i = first; i < steps; ++i) {
    if (state.walked(i - first + 1)) continue;
    const auto t = times[static_cast<std::size_t>(i)], s = times[static_cast<std::size_t>(i + 1)];
    std::vector<std::int64_t> wanted;
    for (std::int64_t at = 0; at < free.numel(); ++at) {
      if (is_free[at] && entry[static_cast<std::size_t>(at / cells)] <= i) wanted.push_back(at);
    }
    const auto key = static_cast<std::uint32_t>(t);
    auto logits = state.logits(state.tokens, wanted, key, t).to(torch::kFloat64);
    if (draw.temperature == 0) {
      logits = keep_count(torch::log_softmax(logits, -1), 1);
    } else {
      logits = torch::log_softmax(logits / draw.temperature, -1);
      logits = keep_rate(keep_count(logits, draw.top_k), draw.top_p);
    }
    const auto at = torch::tensor(wanted);
    const auto xt = state.tokens.flatten().index_select(0, at).unsqueeze(0);
    const auto one = [](std::int64_t time) { return torch::full({1}, time, torch::kInt64); };
    const auto log_p = process.log_reverse(xt, logits.unsqueeze(0), one(s), one(t)).squeeze(0);
    const auto uniforms = state.uniforms(Purpose::draw_tokens, key);
    const auto drawn = draw_states(log_p, uniforms.flatten().index_select(0, at));
    state.tokens.view({-1}).index_put_({at}, drawn);
    if (!state.advance(i - first + 1, steps - first)) return;
  }
}

}  // namespace tessera
