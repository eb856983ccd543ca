/// The samplers of absorbing diffusion. Bond-Taylor et al., "Unleashing Transformers", ECCV 2022, section 3.2
/// (ancestral) and their program's sample_type = mlm. Its corrector: Deschenaux et al., "The Diffusion Duality, Chapter
/// II: Psi-Samplers", arXiv:2602.21185: kappa q(x_s | x_t, x_0) + (1 - kappa) q(x_s | x_0), which leaves the marginals
/// as they are; the option is 1 - kappa.
#include <algorithm>
#include <cmath>

#include "diffusion/absorbing.h"
#include "sampling/registry.h"

namespace tessera {

std::int64_t starting_step(std::int64_t masked, std::int64_t cells, std::int64_t steps) {
  if (masked == 0) return 0;
  const double share = static_cast<double>(masked) / static_cast<double>(cells);
  return std::clamp<std::int64_t>(std::llround(share * static_cast<double>(steps)), 1, steps);
}

/// The corrector of the absorbing process: a cell that a step from t to t - 1 takes is drawn of q(x_{t-1} | x_0), with
/// the denoiser's x_0 (of a known cell, its token), and not of q(x_{t-1} | x_t, x_0): MASK with (t - 1) / T, whatever
/// it was. In: taken [N, L] bool; uniforms [N, L] of the cells taken. Out: which cells the step draws; the others taken
/// become MASK.
static torch::Tensor corrected(FillState& state, const torch::Tensor& taken, const torch::Tensor& uniforms,
                               std::int64_t t, std::int64_t total) {
  const auto closes = uniforms >= static_cast<double>(t - 1) / static_cast<double>(total);
  const auto masked = state.tokens == state.mask_token;
  state.tokens.masked_fill_(taken & closes.logical_not(), state.mask_token);
  return taken & closes & masked;
}

static void sample_ancestral(FillState& state) {
  if (state.options.process) return sample_reverse(state);
  const auto steps = state.options.steps;
  const AbsorbingProcess process(state.mask_token, steps);
  const double share = state.options.number("corrector");
  const auto free = state.start == state.mask_token;
  // Each image enters at the time step that its own number of masked cells implies.
  const auto masked = (state.start == state.mask_token).sum(1);
  auto entry = torch::empty_like(masked);
  std::int64_t first = 0;
  for (std::int64_t n = 0; n < state.count(); ++n) {
    const auto at = starting_step(masked.data_ptr<std::int64_t>()[n], state.cells(), steps);
    entry.data_ptr<std::int64_t>()[n] = at;
    first = std::max(first, at);
  }
  for (auto t = first; t >= 1; --t) {
    if (state.walked(first - t + 1)) continue;
    const auto key = static_cast<std::uint32_t>(t);
    const auto uniforms = state.uniforms(Purpose::select_cells, key);
    const auto times = torch::full({state.count()}, t, torch::kInt64);
    const auto entered = (entry >= t).unsqueeze(1);
    auto selected = process.revealed(state.tokens, uniforms, times) & entered;
    const auto seen = share > 0 ? state.tokens.clone() : state.tokens;
    if (share > 0) {
      const auto lots = state.uniforms(Purpose::corrector, key) / share;  // below 1: taken, and then even in (0, 1)
      const auto taken = (lots < 1) & free & entered;
      selected = (selected & taken.logical_not()) | corrected(state, taken, lots, t, steps);
    }
    state.write(state.draw(seen, selected, key));
    if (!state.advance(first - t + 1, first)) return;
  }
}

std::vector<std::int64_t> mlm_times(std::int64_t total_steps, std::int64_t steps) {
  std::vector<std::int64_t> times;
  for (auto i = steps - 1; i >= 0; --i) {
    const double spacing = steps > 1 ? static_cast<double>(total_steps - 1) / static_cast<double>(steps - 1) : 0;
    // The last one is T itself, whatever the rounding of the spacing.
    times.push_back(i > 0 && i == steps - 1
                        ? total_steps
                        : static_cast<std::int64_t>(std::floor(1 + static_cast<double>(i) * spacing)));
  }
  return times;
}

static void sample_mlm(FillState& state) {
  const auto total = state.options.total_steps > 0 ? state.options.total_steps : state.cells();
  const AbsorbingProcess process(state.mask_token, total);
  const auto free = state.start == state.mask_token;  // only these are ever masked again
  const auto times = mlm_times(total, state.options.steps);
  const auto steps = static_cast<std::int64_t>(times.size());
  for (std::int64_t i = 0; i < steps; ++i) {
    if (state.walked(i + 1)) continue;
    const auto key = static_cast<std::uint32_t>(steps - i);
    const auto uniforms = state.uniforms(Purpose::select_cells, key);
    const auto noised = process.q_sample(state.tokens, torch::full({state.count()}, times[i], torch::kInt64), uniforms);
    const auto wanted = (noised.changed & free) | (state.tokens == state.mask_token);
    state.write(state.draw(state.tokens.masked_fill(wanted, state.mask_token), wanted, key));
    if (!state.advance(i + 1, steps)) return;
  }
}

static OptionField corrector_field() {
  OptionField field;
  field.name = "corrector";
  field.help = "share of the cells that each step draws anew from the estimate, known ones too; 0: none";
  field.fallback = 0.0;
  field.least = 0;
  field.most = 1;
  field.label = "Corrector";
  field.step = 0.05;
  return field;
}

SamplerEntry ancestral_sampler() {
  SamplerEntry entry{"ancestral", "the exact reverse process, a random order", sample_ancestral};
  entry.options = {corrector_field()};
  entry.needs_mask = false;
  entry.draws_tokens = false;
  return entry;
}

SamplerEntry mlm_sampler() {
  SamplerEntry entry{"mlm", "every step masks the estimate again and draws all of it", sample_mlm};
  entry.options = {reused_context_field()};
  entry.suggested_steps = 100;  // the clearest pictures of short trainings (docs/training.md)
  return entry;
}

}  // namespace tessera
