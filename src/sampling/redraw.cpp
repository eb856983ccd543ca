#include "sampling/redraw.h"

#include <torch/torch.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <numbers>

#include "sampling/masked.h"

namespace tessera {
namespace {

constexpr const char* kArccos = "arccos";

/// In, out: [steps] float32.
torch::Tensor filled_share(const std::string& schedule, const torch::Tensor& r) {
  if (schedule == kArccos) return 1 - torch::acos(r) / (std::numbers::pi * 0.5);
  if (schedule == "cosine") return 1 - torch::cos(r * std::numbers::pi * 0.5);
  if (schedule == "square") return r.square();
  return schedule == "root" ? r.sqrt() : r;
}

/// A step of one image: its draws [first, last) are of all cells that were open at the start.
void keep_surest(FillState& state, const FillState::Draws& drawn, std::size_t first, std::size_t last,
                 std::int64_t step, std::int64_t count) {
  const auto cells = state.cells(), n = drawn.cells[first] / cells;
  auto* tokens = state.tokens.data_ptr<std::int64_t>() + n * cells;
  const auto steps = state.options.steps;
  const double left = steps > 1 ? 1 - static_cast<double>(step - 1) / static_cast<double>(steps - 1) : 0;
  const double noise = state.options.number("choice_temperature") * left;
  const auto stream = state.stream(n, Purpose::gumbel_noise, static_cast<std::uint32_t>(step));
  std::vector<double> confidence(static_cast<std::size_t>(cells), std::numeric_limits<double>::infinity());
  for (auto i = first; i < last; ++i) {
    const auto cell = drawn.cells[i] % cells;
    if (tokens[cell] != state.mask_token) continue;
    auto& own = confidence[static_cast<std::size_t>(cell)];
    own = drawn.draws[i].log_probability;
    if (noise > 0) own += noise * stream.gumbel(static_cast<std::uint32_t>(cell));
  }
  const auto stays = surest_cells(confidence, count);
  for (auto i = first; i < last; ++i) {
    const auto cell = drawn.cells[i] % cells;
    if (stays[static_cast<std::size_t>(cell)]) tokens[cell] = drawn.draws[i].token;
  }
}

void sample_redraw(FillState& state) {
  const auto steps = state.options.steps, cells = state.cells();
  const auto filled = redraw_filled(state.options.text("redraw_schedule"), cells, steps);
  const auto* start = state.start.data_ptr<std::int64_t>();
  std::vector<std::vector<std::int64_t>> open(static_cast<std::size_t>(state.count()));
  for (std::int64_t at = 0; at < state.start.numel(); ++at) {
    if (start[at] == state.mask_token) open[static_cast<std::size_t>(at / cells)].push_back(at);
  }
  for (std::int64_t step = 1; step <= steps; ++step) {
    if (state.walked(step)) continue;
    const auto key = static_cast<std::uint32_t>(step);
    const auto count = filled[static_cast<std::size_t>(step - 1)];
    std::vector<std::int64_t> wanted;
    for (const auto& own : open) {
      // Up to what is given the steps of such an image would fill nothing.
      if (cells - static_cast<std::int64_t>(own.size()) < count) wanted.insert(wanted.end(), own.begin(), own.end());
    }
    if (!wanted.empty()) {
      const auto drawn = state.draw(state.tokens, wanted, key);
      for (std::size_t first = 0, last = 0; first < drawn.cells.size(); first = last) {
        while (last < drawn.cells.size() && drawn.cells[last] / cells == drawn.cells[first] / cells) ++last;
        keep_surest(state, drawn, first, last, step, count);
      }
    }
    if (!state.advance(step, steps)) return;
  }
}

OptionField redraw_schedule_field() {
  OptionField field{"redraw_schedule", "how many cells are filled after a step", std::string(kArccos)};
  field.choices = redraw_schedules();
  field.label = "Filled over the steps";
  return field;
}

}  // namespace

std::vector<std::string> redraw_schedules() {
  return {kArccos, "cosine", "square", "linear", "root"};
}

std::vector<std::int64_t> redraw_filled(const std::string& schedule, std::int64_t cells, std::int64_t steps) {
  // A single step fills all; the original has no such walk.
  if (steps == 1) return {cells};
  const auto wanted = filled_share(schedule, torch::linspace(0, 1, steps, torch::kFloat32)) * cells;
  std::vector<std::int64_t> filled;
  for (std::int64_t i = 0; i < steps; ++i) {
    const auto own = static_cast<std::int64_t>(wanted[i].item<float>());
    filled.push_back(i + 1 == steps ? cells : std::min(cells, std::max(i + 1, own)));
  }
  return filled;
}

std::vector<bool> surest_cells(const std::vector<double>& confidence, std::int64_t count) {
  std::vector<bool> stays(confidence.size(), count > 0);
  if (count <= 0 || count >= static_cast<std::int64_t>(confidence.size())) return stays;
  auto sorted = confidence;
  const auto cut = sorted.begin() + static_cast<std::ptrdiff_t>(count - 1);
  std::nth_element(sorted.begin(), cut, sorted.end(), std::greater<>());
  for (std::size_t i = 0; i < confidence.size(); ++i) stays[i] = confidence[i] >= *cut;
  return stays;
}

SamplerEntry redraw_sampler() {
  SamplerEntry entry{"redraw", "Halton-MaskGIT's confidence sampler: the surest first, all drawn anew at every step",
                     sample_redraw};
  entry.options = {redraw_schedule_field(), choice_temperature_field()};
  return entry;
}

}  // namespace tessera
