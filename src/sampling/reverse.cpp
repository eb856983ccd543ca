/// The reverse of a process by x_0-parameterisation, in strides. Austin et al., arXiv:2107.03006, section 3.3; Gu et
/// al., arXiv:2111.14822, algorithm 2 and section 4.2 (fast inference).
#include <algorithm>
#include <cmath>

#include "diffusion/even_reverse.h"
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

/// x_s of the sum over x_0 of q(x_s | x_0) p(x_0 | x_t): the corrector's draw (ancestral.cpp). An x_0 from which x_t
/// cannot come counts for nothing, as in log_reverse. In: xt [M], log p [M, K], uniforms [M]. Out: [M].
static torch::Tensor draw_anew(const Process& process, const torch::Tensor& xt, const torch::Tensor& log_p,
                               std::int64_t s, std::int64_t t, const torch::Tensor& uniforms) {
  constexpr double kLeast = -1e4;  // a code that was cut, where no other can have come to x_t
  const auto one = [](std::int64_t time) { return torch::full({1}, time, torch::kInt64); };
  const auto possible = process.log_likelihood(xt.unsqueeze(0), one(0), one(t))
                            .squeeze(0)
                            .narrow(1, 0, process.codebook_size())
                            .gt(kNever);
  const auto known = torch::log_softmax(log_p.clamp_min(kLeast).masked_fill(possible.logical_not(), kNever), -1);
  return draw_states(process.log_spread(known.unsqueeze(0), one(s)).squeeze(0), uniforms);
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
    const auto xt = state.tokens.flatten().index_select(0, at);
    const auto uniforms = state.uniforms(Purpose::draw_tokens, key).flatten().index_select(0, at);
    torch::Tensor drawn;
    const double corrector = state.options.number("corrector");
    if (has_even_reverse(process, logits)) {
      drawn = draw_even_reverse(process, xt, logits, s, t, uniforms);
    } else {
      const auto one = [](std::int64_t time) { return torch::full({1}, time, torch::kInt64); };
      const auto log_p = process.log_reverse(xt.unsqueeze(0), logits.unsqueeze(0), one(s), one(t)).squeeze(0);
      drawn = draw_states(log_p, uniforms);
    }
    if (corrector > 0) {
      const auto taken = state.uniforms(Purpose::corrector, key).flatten().index_select(0, at) < corrector;
      drawn = torch::where(taken, draw_anew(process, xt, logits, s, t, uniforms), drawn);
    }
    state.tokens.view({-1}).index_put_({at}, drawn);
    if (!state.advance(i - first + 1, steps - first)) return;
  }
}

}  // namespace tessera
