/// Chang et al., MaskGIT, arXiv:2202.04200, with the order and the schedule as parts of their own.
#include "sampling/masked.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "runtime/error.h"

namespace tessera {
namespace {

constexpr std::uint32_t kKeyOfTheOrder = 0;  // step of the random numbers that an order keeps for the whole fill

/// One image's walk.
struct MaskedWalk {
  std::vector<std::int64_t> plan;  // cells open after each step
  std::int64_t open = 0;           // before the first
  std::int64_t before(std::int64_t step) const { return step <= 1 ? open : after(step - 1); }
  std::int64_t after(std::int64_t step) const {
    return step > static_cast<std::int64_t>(plan.size()) ? 0 : plan[static_cast<std::size_t>(step - 1)];
  }
  std::int64_t count(std::int64_t step) const { return before(step) - after(step); }
};

std::vector<MaskedWalk> walks_of(const FillState& state, const ScheduleEntry& schedule) {
  const auto open = (state.start == state.mask_token).sum(1);
  std::vector<MaskedWalk> walks;
  for (std::int64_t n = 0; n < state.count(); ++n) {
    MaskedWalk walk;
    walk.open = open.data_ptr<std::int64_t>()[n];
    if (walk.open > 0)
      walk.plan = schedule.plan({walk.open, state.cells(), state.options.steps, &state.options.cross_entropy});
    walks.push_back(std::move(walk));
  }
  return walks;
}

/// Places 0 .. scores.size() - 1, the greatest score first; of equal ones the lower place.
std::vector<std::size_t> ranked_by(const std::vector<double>& scores) {
  std::vector<std::size_t> places(scores.size());
  std::iota(places.begin(), places.end(), std::size_t{0});
  std::sort(places.begin(), places.end(),
            [&](std::size_t a, std::size_t b) { return scores[a] != scores[b] ? scores[a] > scores[b] : a < b; });
  return places;
}

/// The flat cells that a step opens to the network, where the order needs no look at it.
std::vector<std::int64_t> cells_by_order(const FillState& state,
                                         const std::vector<std::vector<std::int64_t>>& sequences,
                                         const std::vector<MaskedWalk>& walks, std::int64_t step) {
  std::vector<std::int64_t> chosen;
  for (std::int64_t n = 0; n < state.count(); ++n) {
    const auto& walk = walks[static_cast<std::size_t>(n)];
    const auto& sequence = sequences[static_cast<std::size_t>(n)];
    const auto from = walk.open - walk.before(step);
    const auto first = chosen.size();
    for (auto i = from; i < from + walk.count(step); ++i)
      chosen.push_back(n * state.cells() + sequence[static_cast<std::size_t>(i)]);
    std::sort(chosen.begin() + static_cast<std::ptrdiff_t>(first), chosen.end());
  }
  return chosen;
}

/// The open cells of each image in the order's sequence.
std::vector<std::vector<std::int64_t>> sequences_of(const FillState& state, const OrderEntry& order) {
  std::vector<std::vector<std::int64_t>> sequences;
  const auto* start = state.start.data_ptr<std::int64_t>();
  for (std::int64_t n = 0; n < state.count(); ++n) {
    std::vector<std::int64_t> cells;
    for (std::int64_t cell = 0; cell < state.cells(); ++cell) {
      if (start[n * state.cells() + cell] == state.mask_token) cells.push_back(cell);
    }
    const auto scores = order.score({state.extent(), cells, nullptr, nullptr, state.mask_token,
                                     state.stream(n, Purpose::select_cells, kKeyOfTheOrder)});
    std::vector<std::int64_t> sequence;
    for (const auto place : ranked_by(scores)) sequence.push_back(cells[place]);
    sequences.push_back(std::move(sequence));
  }
  return sequences;
}

/// A step of an order that sees what the network says: all open cells are drawn, the first of the order stay.
void draw_and_keep(FillState& state, const OrderEntry& order, const std::vector<MaskedWalk>& walks, std::int64_t step) {
  const auto key = static_cast<std::uint32_t>(step);
  std::vector<std::int64_t> wanted;
  const auto* now = state.tokens.data_ptr<std::int64_t>();
  for (std::int64_t n = 0; n < state.count(); ++n) {
    if (walks[static_cast<std::size_t>(n)].count(step) == 0) continue;
    for (auto at = n * state.cells(); at < (n + 1) * state.cells(); ++at) {
      if (now[at] == state.mask_token) wanted.push_back(at);
    }
  }
  if (wanted.empty()) return;
  FillState::Draws drawn;
  torch::Tensor logits;
  if (order.sees == OrderEntry::Sees::logits) {
    logits = state.logits(state.tokens, wanted, key, 0).contiguous();
    state.draw_rows(logits, wanted, key, drawn);
  } else {
    drawn = state.draw(state.tokens, wanted, key);
  }
  auto* tokens = state.tokens.data_ptr<std::int64_t>();
  for (std::size_t at = 0; at < drawn.cells.size();) {
    const auto image = drawn.cells[at] / state.cells();
    const auto& walk = walks[static_cast<std::size_t>(image)];
    const double done = static_cast<double>(step) / static_cast<double>(walk.plan.size());
    const double noise = state.options.number("choice_temperature") * (1 - done);
    const auto first = at;
    std::vector<std::int64_t> cells;
    for (; at < drawn.cells.size() && drawn.cells[at] / state.cells() == image; ++at)
      cells.push_back(drawn.cells[at] % state.cells());
    const float* rows =
        logits.defined() ? logits.data_ptr<float>() + static_cast<std::int64_t>(first) * state.mask_token : nullptr;
    auto scores = order.score({state.extent(), cells, drawn.draws.data() + first, rows, state.mask_token,
                               state.stream(image, Purpose::select_cells, kKeyOfTheOrder)});
    if (noise > 0) {
      const auto stream = state.stream(image, Purpose::gumbel_noise, key);
      for (std::size_t i = 0; i < cells.size(); ++i) {
        scores[i] += noise * stream.gumbel(static_cast<std::uint32_t>(cells[i]));
      }
    }
    const auto ranked = ranked_by(scores);
    for (std::int64_t r = 0; r < walk.count(step); ++r) {
      const auto place = first + ranked[static_cast<std::size_t>(r)];
      tokens[drawn.cells[place]] = drawn.draws[place].token;
    }
  }
}

OptionField order_field() {
  OptionField field{"order", "which cells come first", std::string("random")};
  field.choices_now = [] { return orders().names(); };
  field.label = "Order";
  return field;
}

OptionField schedule_field() {
  OptionField field{"schedule", "how many cells a step fills", std::string("linear")};
  field.choices_now = [] { return unmasking_schedules().names(); };
  field.label = "Schedule";
  return field;
}

void sample_masked(FillState& state) {
  sample_masked_by(state, orders().at(state.options.text("order")),
                   unmasking_schedules().at(state.options.text("schedule")));
}

}  // namespace

void sample_masked_by(FillState& state, const OrderEntry& order, const ScheduleEntry& schedule) {
  const auto walks = walks_of(state, schedule);
  std::int64_t steps = 0;
  for (const auto& walk : walks) steps = std::max(steps, static_cast<std::int64_t>(walk.plan.size()));
  const bool blind = order.sees == OrderEntry::Sees::nothing;
  const auto sequences = blind ? sequences_of(state, order) : std::vector<std::vector<std::int64_t>>();
  for (std::int64_t step = 1; step <= steps; ++step) {
    if (state.walked(step)) continue;
    if (blind) {
      const auto cells = cells_by_order(state, sequences, walks, step);
      if (!cells.empty()) state.write(state.draw(state.tokens, cells, static_cast<std::uint32_t>(step)));
    } else {
      draw_and_keep(state, order, walks, step);
    }
    if (!state.advance(step, steps)) return;
  }
}

OptionField choice_temperature_field() {
  OptionField field{
      "choice_temperature",
      "Gumbel noise on the scores of orders that see the network, falling to 0 over the steps; 0 disables", 4.5, 0,
      1e6};
  field.label = "Choice temperature";
  field.shown_most = 10;
  field.step = 0.5;
  return field;
}

std::vector<std::int64_t> plan_by_share(const ScheduleInput& input, double (*open_share)(double done)) {
  std::vector<std::int64_t> plan;
  auto open = input.open;
  for (std::int64_t step = 1; step < input.steps; ++step) {
    const double done = static_cast<double>(step) / static_cast<double>(input.steps);
    const auto left = static_cast<std::int64_t>(std::floor(static_cast<double>(input.open) * open_share(done)));
    open = std::min(open, std::max<std::int64_t>(1, std::min(open - 1, left)));
    plan.push_back(open);
  }
  plan.push_back(0);
  return plan;
}

SamplerEntry masked_sampler() {
  SamplerEntry entry{"masked", "cells in an order, as many a step as a schedule says", sample_masked};
  entry.options = {order_field(), schedule_field(), choice_temperature_field(), reused_context_field()};
  return entry;
}

}  // namespace tessera
