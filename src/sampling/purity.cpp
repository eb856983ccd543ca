#include "sampling/purity.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "sampling/registry.h"
#include "sampling/truncation.h"

namespace tessera {

torch::Tensor purity_scores(const torch::Tensor& log_p) {
  const auto purest = std::get<0>(log_p.exp().max(-1)).clamp(0, 1);
  return purest / (std::get<0>(purest.max(-1, true)) + 1e-10);
}

torch::Tensor sharpened(const torch::Tensor& log_p, const torch::Tensor& score, double weight) {
  return torch::log_softmax((1 + weight * score).unsqueeze(-1) * log_p, -1).clamp(kCut, 0);
}

torch::Tensor cell_weights(const torch::Tensor& score, const torch::Tensor& masked) {
  const auto raised = torch::where(score.sum(-1, true) < 1e-6, score + 1, score);
  return raised * masked;
}

std::int64_t cells_to_unmask(std::int64_t wanted, std::int64_t done, std::int64_t most) {
  const auto left = wanted - done;
  const auto count = std::min(left, most);
  return std::max<std::int64_t>(0, left - count == 1 ? left : count);
}

namespace {

/// The cells of an image that a step unmasks: `count` of them drawn without replacement by their weights, which is the
/// `count` largest of log weight plus Gumbel noise (Efraimidis and Spirakis, 2006).
std::vector<std::int64_t> chosen(const double* weights, std::int64_t cells, std::int64_t count,
                                 const RandomStream& stream) {
  std::vector<std::pair<double, std::int64_t>> keys;
  for (std::int64_t cell = 0; cell < cells; ++cell) {
    if (weights[cell] > 0)
      keys.emplace_back(-(std::log(weights[cell]) + stream.gumbel(static_cast<std::uint32_t>(cell))), cell);
  }
  const auto kept = std::min<std::size_t>(keys.size(), static_cast<std::size_t>(count));
  std::partial_sort(keys.begin(), keys.begin() + static_cast<std::ptrdiff_t>(kept), keys.end());
  std::vector<std::int64_t> result;
  for (std::size_t i = 0; i < kept; ++i) result.push_back(keys[i].second);
  std::sort(result.begin(), result.end());
  return result;
}

}  // namespace

static void sample_purity(FillState& state) {
  // The MASK cells of each image in as many equal portions as there are steps; a step at time T (1 - i / S).
  const auto steps = state.options.steps, cells = state.cells();
  const double weight = state.options.number("purity");
  const auto initial = (state.start == state.mask_token).sum(1);
  for (std::int64_t i = 1; i <= steps; ++i) {
    if (state.walked(i)) continue;
    const auto key = static_cast<std::uint32_t>(i);
    std::vector<std::int64_t> masked;
    const auto* tokens = state.tokens.data_ptr<std::int64_t>();
    for (std::int64_t at = 0; at < state.tokens.numel(); ++at) {
      if (tokens[at] == state.mask_token) masked.push_back(at);
    }
    const auto logits = state.logits(state.tokens, masked, key, 0);
    const auto& draw = state.options.draw;
    auto log_p = torch::log_softmax(logits.to(torch::kFloat64), -1);
    if (draw.temperature > 0) log_p = torch::log_softmax(log_p / draw.temperature, -1);
    log_p = keep_rate(keep_count(log_p, draw.temperature > 0 ? draw.top_k : 1), draw.top_p);
    std::vector<std::int64_t> wanted;
    std::vector<torch::Tensor> tempered;
    std::size_t begin = 0;
    for (std::int64_t n = 0; n < state.count(); ++n) {
      auto end = begin;
      while (end < masked.size() && masked[end] / cells == n) ++end;
      const auto left = static_cast<std::int64_t>(end - begin);
      const auto kept = initial.data_ptr<std::int64_t>()[n] * (steps - i) / steps;
      const auto count = cells_to_unmask(left - kept, 0, left);
      if (count > 0) {
        const auto own = log_p.narrow(0, static_cast<std::int64_t>(begin), left).unsqueeze(0);
        const auto score = purity_scores(own);
        auto weights = torch::zeros({cells}, torch::kFloat64);
        for (std::int64_t j = 0; j < left; ++j) {
          weights[masked[begin + static_cast<std::size_t>(j)] % cells] = score[0][j];
        }
        const auto stream = state.stream(n, Purpose::select_cells, key);
        const auto sharp = weight > 0 ? sharpened(own, score, weight) : own;
        for (const auto cell : chosen(weights.data_ptr<double>(), cells, count, stream)) {
          const auto found = std::lower_bound(masked.begin() + static_cast<std::ptrdiff_t>(begin),
                                              masked.begin() + static_cast<std::ptrdiff_t>(end), n * cells + cell);
          wanted.push_back(*found);
          tempered.push_back(sharp[0][found - masked.begin() - static_cast<std::ptrdiff_t>(begin)]);
        }
      }
      begin = end;
    }
    if (!wanted.empty()) {
      const auto at = torch::tensor(wanted);
      const auto uniforms = state.uniforms(Purpose::draw_tokens, key);
      const auto drawn = draw_states(torch::stack(tempered), uniforms.flatten().index_select(0, at));
      state.tokens.view({-1}).index_put_({at}, drawn);
    }
    if (!state.advance(i, steps)) return;
  }
}

SamplerEntry purity_sampler() {
  SamplerEntry entry{"purity", "the cells that the network is surest of, drawn sharply", sample_purity};
  entry.draws_tokens = false;
  OptionField weight{"purity", "sharpens sure cells by this; 0 disables", 1.0, 0, 1000};
  weight.label = "Purity";
  weight.shown_most = 4;
  weight.step = 0.1;
  entry.options = {weight, reused_context_field()};
  return entry;
}

}  // namespace tessera
