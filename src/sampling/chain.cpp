/// The chain of a network whose every step back in time goes cell by cell: x_T of codes drawn alike, then x_{T-1} of
/// x_T, .. x_0 of x_1, each in row-major order. Esser et al., "ImageBART", arXiv:2108.08827, section 3.2.
///
/// Edits go through the chain (section 3.4 there): cells that are kept have the noised codes that the forward chain
/// makes of them, at every time; the others are drawn among these. So what is drawn first has seen, noised, what stands
/// below and to the right of it.
#include <algorithm>

#include "diffusion/redraw.h"
#include "sampling/registry.h"
#include "sampling/step_look.h"

namespace tessera {
namespace {

/// The forward chain of the start's known cells: x_0 .. x_T [N, L]. What stands in the others has no meaning.
std::vector<torch::Tensor> forward_chain(const FillState& state, const Process& process) {
  const auto codes = static_cast<double>(process.codebook_size());
  std::vector<torch::Tensor> chain = {state.start.masked_fill(state.start == state.mask_token, 0)};
  for (std::int64_t t = 1; t <= process.total_steps(); ++t) {
    const auto key = static_cast<std::uint32_t>(t);
    const auto step = process.even_step(t - 1, t);
    require(step.has_value() && step->gamma == 0, "sampler chain: expected a process that redraws codes alike");
    // The cells drawn at this step are others, so that their key serves.
    const auto drawn = (state.uniforms(Purpose::draw_tokens, key) * codes).floor().to(torch::kInt64);
    chain.push_back(redrawn(chain.back(), drawn, state.uniforms(Purpose::select_cells, key), 1 - step->alpha));
  }
  return chain;
}

/// Walks one group's step from x_t to x_{t-1}: the drawn cells are written into `next` [N, L], whose others are known.
void walk_step(FillState& state, const FillState::Group& group, const torch::Tensor& noised, std::int64_t t,
               const DrawOptions& draw, const torch::Tensor& free, torch::Tensor& next) {
  const auto& process = *state.options.process;
  const auto size = state.images_per_call(), cells = state.cells(), count = group.last - group.first;
  const auto* is_free = free.data_ptr<bool>();
  std::int64_t end = 0;  // one past the last cell to be drawn
  for (auto at = group.first * cells; at < group.last * cells; ++at) {
    if (is_free[at]) end = std::max(end, at % cells + 1);
  }
  if (end == 0) return;
  auto look = step_look(process, torch::zeros({size, cells}, torch::kInt64), t);  // absent images are of code 0
  look.noised.narrow(0, group.offset, count).copy_(noised.narrow(0, group.first, count));
  look.conditions = state.conditions_of(group, size);
  const auto decoding = as_step_evaluator(state.evaluator()).decode_step(look);
  const auto shares = state.guidance_of(state.tokens.narrow(0, group.first, 1), t);
  if (!shares.empty()) decoding->guide(std::vector<double>(static_cast<std::size_t>(size), shares.front()));
  auto* out = next.data_ptr<std::int64_t>();
  torch::Tensor previous;
  for (std::int64_t cell = 0; cell < end && !state.abandoned(group); ++cell) {
    const auto logits = decoding->advance(previous);
    state.report.evaluations += count;
    std::vector<std::int64_t> at, places;
    for (auto image = group.first; image < group.last; ++image) {
      if (!is_free[image * cells + cell]) continue;
      at.push_back(image * cells + cell);
      places.push_back(image - group.first + group.offset);
    }
    if (!at.empty()) {
      FillState::Draws draws;
      state.draw_rows(logits.index_select(0, torch::tensor(places).to(logits.device())), at,
                      static_cast<std::uint32_t>(t), draw, draws);
      for (std::size_t i = 0; i < at.size(); ++i) out[at[i]] = draws.draws[i].token;
    }
    previous = torch::zeros({size}, torch::kInt64);
    previous.narrow(0, group.offset, count).copy_(next.narrow(0, group.first, count).select(1, cell));
  }
}

void sample_chain(FillState& state) {
  const auto& process = *state.options.process;
  const auto total = process.total_steps();
  const auto free = (state.start == state.mask_token).contiguous();
  const auto known = forward_chain(state, process);
  if (!state.walked(1)) {
    const auto uniforms = state.uniforms(Purpose::draw_tokens, static_cast<std::uint32_t>(total + 1));
    const auto noise = (uniforms * static_cast<double>(process.codebook_size())).floor().to(torch::kInt64);
    state.tokens = torch::where(free, noise, state.tokens).contiguous();
  }
  auto later = state.options.draw;
  later.temperature = state.options.number("later_temperature");
  for (auto t = total; t >= 1; --t) {
    if (state.walked(total - t + 1)) continue;
    const auto at = [&](std::int64_t time) { return known[static_cast<std::size_t>(time)]; };
    const auto noised = torch::where(free, state.tokens, at(t));
    auto next = torch::where(free, state.tokens, at(t - 1)).contiguous();
    for (const auto& group : state.groups())
      walk_step(state, group, noised, t, t == total ? state.options.draw : later, free, next);
    state.tokens = torch::where(free, next, state.start).contiguous();
    if (!state.advance(total - t + 1, total)) return;
  }
}

OptionField later_temperature_field() {
  OptionField field;
  field.name = "later_temperature";
  field.help = "temperature of a chain's steps after its first; 1: the network's own, as published";
  field.fallback = 1.0;
  field.least = 0;
  field.most = 1e6;
  field.label = "Temperature of later steps";
  field.shown_most = 1.5;
  field.step = 0.05;
  return field;
}

}  // namespace

SamplerEntry chain_sampler() {
  SamplerEntry entry{"chain", "back through the times of a chain, each cell by cell", sample_chain};
  entry.causal = true;
  entry.needs_mask = false;
  entry.without_mask = true;
  entry.takes_steps = false;
  entry.options = {later_temperature_field()};
  return entry;
}

}  // namespace tessera
