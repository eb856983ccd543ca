#include "sampling/halton.h"

#include <torch/torch.h>

#include <algorithm>
#include <numbers>

#include "sampling/registry.h"
#include "sampling/sampler.h"

namespace tessera {
namespace {

constexpr const char* kShifted = "shifted";
constexpr std::uint32_t kKeyOfTheShift = 0;

/// The open cells of image n in the order of the sequence, from where the image begins in it.
std::vector<std::int64_t> halton_sequence(const FillState& state, std::int64_t n) {
  const auto cells = state.cells();
  std::vector<std::int64_t> all(static_cast<std::size_t>(cells));
  for (std::int64_t cell = 0; cell < cells; ++cell) all[static_cast<std::size_t>(cell)] = cell;
  const auto stream = state.stream(n, Purpose::select_cells, kKeyOfTheShift);
  const auto scores = orders().at("halton").score({state.extent(), all, nullptr, nullptr, state.mask_token, stream});
  std::sort(all.begin(), all.end(), [&](std::int64_t a, std::int64_t b) {
    return scores[static_cast<std::size_t>(a)] > scores[static_cast<std::size_t>(b)];
  });
  const auto shift = state.options.text("halton_start") == kShifted ? stream.below(0, static_cast<std::uint64_t>(cells))
                                                                    : std::uint64_t{0};
  std::rotate(all.begin(), all.end() - static_cast<std::ptrdiff_t>(shift), all.end());
  const auto* start = state.start.data_ptr<std::int64_t>() + n * cells;
  std::erase_if(all, [&](std::int64_t cell) { return start[cell] != state.mask_token; });
  return all;
}

void sample_halton(FillState& state) {
  const auto steps = state.options.steps;
  const auto number = [&](const char* name) { return state.options.number(name); };
  const auto warmup = state.options.own.find("logit_scale_warmup");
  const auto scales =
      logit_scales({number("logit_scale_first"), number("logit_scale_last"), number("logit_scale_power"),
                    warmup == state.options.own.end() ? 0 : std::get<std::int64_t>(warmup->second)},
                   steps);
  std::vector<std::vector<std::int64_t>> sequences, filled;
  for (std::int64_t n = 0; n < state.count(); ++n) {
    sequences.push_back(halton_sequence(state, n));
    filled.push_back(halton_filled(static_cast<std::int64_t>(sequences.back().size()), steps));
  }
  for (std::int64_t step = 1; step <= steps; ++step) {
    if (state.walked(step)) continue;
    const auto key = static_cast<std::uint32_t>(step);
    const auto at = static_cast<std::size_t>(step - 1);
    std::vector<std::int64_t> wanted;
    for (std::size_t n = 0; n < sequences.size(); ++n) {
      const auto from = at == 0 ? 0 : filled[n][at - 1];
      const auto first = static_cast<std::ptrdiff_t>(wanted.size());
      for (auto i = from; i < filled[n][at]; ++i)
        wanted.push_back(static_cast<std::int64_t>(n) * state.cells() + sequences[n][static_cast<std::size_t>(i)]);
      std::sort(wanted.begin() + first, wanted.end());
    }
    if (!wanted.empty()) {
      FillState::Draws drawn;
      state.draw_rows(state.logits(state.tokens, wanted, key, 0) * scales[at], wanted, key, drawn);
      state.write(drawn);
    }
    if (!state.advance(step, steps)) return;
  }
}

OptionField logit_scale_field(const char* name, const char* help, double fallback, const char* label) {
  OptionField field{name, help, fallback, 0, 1000};
  field.label = label;
  field.shown_most = 3;
  field.step = 0.05;
  return field;
}

std::vector<OptionField> halton_fields() {
  OptionField warmup{"logit_scale_warmup", "so many steps at the start have half the factor", std::int64_t{0}, 0,
                     kMostSamplingSteps};
  warmup.label = "Steps of half the factor";
  warmup.shown_most = 16;
  OptionField start{"halton_start", "where an image begins in the sequence: at its start, or anywhere",
                    std::string("first")};
  start.choices = {"first", kShifted};
  start.label = "Start in the sequence";
  return {logit_scale_field("logit_scale_first", "logits are multiplied by it at the first step", 1, "First factor"),
          logit_scale_field("logit_scale_last", "logits are multiplied by it at the last step", 1.2, "Last factor"),
          logit_scale_field("logit_scale_power", "power of that factor", 1, "Power of the factor"),
          warmup,
          start,
          reused_context_field()};
}

}  // namespace

std::vector<std::int64_t> halton_filled(std::int64_t cells, std::int64_t steps) {
  std::vector<std::int64_t> filled;
  for (std::int64_t step = 1; step <= steps; ++step) {
    const auto done = torch::tensor(static_cast<float>(static_cast<double>(step) / static_cast<double>(steps)));
    const auto share = 1 - torch::acos(done) / (std::numbers::pi * 0.5);
    const auto wanted = static_cast<std::int64_t>((share * cells).item<float>());
    filled.push_back(std::min(cells, std::max(step, wanted)));
  }
  return filled;
}

std::vector<double> logit_scales(const LogitScale& scale, std::int64_t steps) {
  const auto all = torch::linspace(scale.first, scale.last, steps, torch::kFloat32).pow(scale.power);
  std::vector<double> scales;
  for (std::int64_t i = 0; i < steps; ++i) scales.push_back(all[i].item<float>() * (i < scale.warmup ? 0.5 : 1.0));
  return scales;
}

SamplerEntry halton_sampler() {
  SamplerEntry entry{"halton", "Halton-MaskGIT's: spread evenly over the picture, surer with every step",
                     sample_halton};
  entry.options = halton_fields();
  return entry;
}

}  // namespace tessera
