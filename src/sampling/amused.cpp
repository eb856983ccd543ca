#include "sampling/amused.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <numbers>

#include "runtime/error.h"
#include "sampling/masked.h"

namespace tessera {
namespace {

constexpr const char* kByTask = "by-task";
constexpr double kTemperature = 2;  // of the first step, the hub pipeline's default

/// The draws of `fill`: keyed by (seed, image, step, cell).
class KeyedDraws : public AmusedDraws {
 public:
  explicit KeyedDraws(FillState& state) : state_(state) {}

  std::vector<TokenDraw> tokens(std::int64_t step, const std::vector<std::int64_t>& cells,
                                const torch::Tensor& logits) override {
    FillState::Draws drawn;
    state_.draw_rows(logits, cells, static_cast<std::uint32_t>(step), drawn);
    return std::move(drawn.draws);
  }
  double gumbel(std::int64_t step, std::int64_t n, std::int64_t l) override {
    return state_.stream(n, Purpose::gumbel_noise, static_cast<std::uint32_t>(step))
        .gumbel(static_cast<std::uint32_t>(l));
  }

 private:
  FillState& state_;
};

/// The open cells of an image, ascending. In: tokens [N, L].
std::vector<std::int64_t> open_cells_of(const FillState& state, const torch::Tensor& tokens, std::int64_t n) {
  std::vector<std::int64_t> cells;
  const auto* now = tokens.data_ptr<std::int64_t>() + n * state.cells();
  for (std::int64_t cell = 0; cell < state.cells(); ++cell) {
    if (now[cell] == state.mask_token) cells.push_back(cell);
  }
  return cells;
}

float cosine_share(std::int64_t step, std::int64_t steps) {
  const float done = static_cast<float>(step) / static_cast<float>(steps);
  return std::cos(done * static_cast<float>(std::numbers::pi) / 2);
}

/// Which of the open cells stay, by their confidence: the `masked` least confident are masked again. As published, all
/// below the value at that place of the sorted ones: of equal ones none is lost.
std::vector<bool> kept_by(const std::vector<double>& confidence, std::int64_t masked) {
  auto sorted = confidence;
  std::sort(sorted.begin(), sorted.end());
  const auto cut = static_cast<std::size_t>(masked) < sorted.size() ? sorted[static_cast<std::size_t>(masked)]
                                                                    : std::numeric_limits<double>::infinity();
  std::vector<bool> kept;
  for (const auto value : confidence) kept.push_back(value >= cut);
  return kept;
}

/// The plan of an image as the hub's pipelines have it: whole pictures by the model's schedule, parts of one evenly and
/// in proportion to their share; or, by a schedule that is named, parts from the step that their share implies, as
/// image to image.
AmusedPlan plan_of(const FillState& state, std::int64_t n) {
  const auto named = state.options.text("masking_schedule");
  const auto open = static_cast<std::int64_t>(open_cells_of(state, state.start, n).size());
  const double share = static_cast<double>(open) / static_cast<double>(state.cells());
  AmusedPlan plan;
  if (named == "linear" || (named == kByTask && open < state.cells())) plan.schedule = AmusedSchedule::linear;
  if (named == kByTask) {
    plan.share = share;
    return plan;
  }
  const auto steps = state.options.steps;
  while (plan.passed + 1 < steps &&
         amused_masked_after(plan.passed + 1, steps, state.cells(), state.cells() + 1, 1, plan.schedule) >= open)
    ++plan.passed;
  return plan;
}

void sample_amused(FillState& state) {
  std::vector<AmusedPlan> plans;
  for (std::int64_t n = 0; n < state.count(); ++n) plans.push_back(plan_of(state, n));
  KeyedDraws draws(state);
  run_amused(state, draws, plans, state.options.number("choice_temperature"), 0);
}

/// Draws at a step have been made: those that stay are written.
void draw_and_mask(FillState& state, AmusedDraws& draws, const std::vector<AmusedPlan>& plans, std::int64_t step,
                   double temperature, const std::vector<std::int64_t>& wanted, const std::vector<TokenDraw>& drawn) {
  const auto steps = state.options.steps, cells = state.cells();
  auto* tokens = state.tokens.data_ptr<std::int64_t>();
  for (std::size_t at = 0; at < wanted.size();) {
    const auto n = wanted[at] / cells;
    const auto& plan = plans[static_cast<std::size_t>(n)];
    const auto first = at;
    std::vector<double> confidence;
    for (; at < wanted.size() && wanted[at] / cells == n; ++at) {
      double value = drawn[at].log_probability;
      if (step < steps) value += temperature * draws.gumbel(step, n, wanted[at] % cells);
      confidence.push_back(value);
    }
    const auto unknown = static_cast<std::int64_t>(confidence.size());
    const auto kept = kept_by(confidence, amused_masked_after(step, steps, cells, unknown, plan.share, plan.schedule));
    for (std::size_t i = 0; i < kept.size(); ++i) {
      if (kept[i]) tokens[wanted[first + i]] = drawn[first + i].token;
    }
  }
}

/// A step of an image without MASK: all its cells are equally sure, the least noise decides.
void mask_one(FillState& state, AmusedDraws& draws, std::int64_t step, std::int64_t n, double temperature) {
  std::vector<double> confidence;
  for (std::int64_t cell = 0; cell < state.cells(); ++cell)
    confidence.push_back(temperature * draws.gumbel(step, n, cell));
  const auto kept = kept_by(confidence, 1);
  for (std::int64_t cell = 0; cell < state.cells(); ++cell) {
    if (!kept[static_cast<std::size_t>(cell)])
      state.tokens.data_ptr<std::int64_t>()[n * state.cells() + cell] = state.mask_token;
  }
}

OptionField masking_schedule_field() {
  OptionField field{"masking_schedule",
                    "by-task: cosine for whole pictures, linear for parts; cosine or linear: parts start at the step "
                    "that their share implies",
                    std::string(kByTask)};
  field.choices = {kByTask, "cosine", "linear"};
  field.label = "Masking schedule";
  return field;
}

}  // namespace

std::int64_t amused_masked_after(std::int64_t step, std::int64_t steps, std::int64_t cells, std::int64_t unknown,
                                 double share, AmusedSchedule schedule) {
  if (step >= steps) return 0;
  const float ratio = schedule == AmusedSchedule::cosine ? cosine_share(step, steps)
                                                         : 1 - static_cast<float>(step) / static_cast<float>(steps);
  const float wanted = std::floor(static_cast<float>(cells) * static_cast<float>(share) * ratio);
  return std::max<std::int64_t>(1, std::min(unknown - 1, static_cast<std::int64_t>(wanted)));
}

double amused_temperature(std::int64_t step, std::int64_t steps, double first, double last) {
  if (steps <= 1) return first;
  return first + (last - first) * static_cast<double>(step - 1) / static_cast<double>(steps - 1);
}

AmusedStart amused_start(std::int64_t steps, double strength) {
  require(steps > 0 && strength >= 0 && strength <= 1, "image to image: strength {} of {} steps, expected 0 to 1",
          strength, steps);
  AmusedStart start;
  start.passed = steps - static_cast<std::int64_t>(static_cast<double>(steps) * strength);
  const auto at = start.passed == 0 ? steps : start.passed;
  start.masked = cosine_share(at, steps);
  return start;
}

void run_amused(FillState& state, AmusedDraws& draws, const std::vector<AmusedPlan>& plans, double first_temperature,
                double last_temperature) {
  const auto steps = state.options.steps, cells = state.cells();
  for (std::int64_t step = 1; step <= steps; ++step) {
    if (state.walked(step)) continue;
    const double temperature = amused_temperature(step, steps, first_temperature, last_temperature);
    std::vector<std::int64_t> wanted, full;
    for (std::int64_t n = 0; n < state.count(); ++n) {
      const auto& plan = plans[static_cast<std::size_t>(n)];
      if (step <= plan.passed) continue;
      const auto open = open_cells_of(state, state.tokens, n);
      if (open.empty() && plan.always_masks && step < steps) full.push_back(n);
      for (const auto cell : open) wanted.push_back(n * cells + cell);
    }
    if (!wanted.empty()) {
      const auto logits = state.logits(state.tokens, wanted, static_cast<std::uint32_t>(step), 0);
      draw_and_mask(state, draws, plans, step, temperature, wanted, draws.tokens(step, wanted, logits));
    }
    for (const auto n : full) mask_one(state, draws, step, n, temperature);
    if (!state.advance(step, steps)) return;
  }
}

SamplingOptions suggestion_of_hub(const nlohmann::json& scheduler) {
  SamplingOptions suggestion;
  if (!scheduler.is_object() || scheduler.value("_class_name", nlohmann::json()) != "AmusedScheduler")
    return suggestion;
  suggestion.set("sampler", "amused").set("steps", 12).set("choice_temperature", kTemperature).set("cfg_scale", 10.0);
  if (scheduler.value("masking_schedule", nlohmann::json()) == "linear") suggestion.set("masking_schedule", "linear");
  return suggestion;
}

SamplerEntry amused_sampler() {
  SamplerEntry entry{"amused", "aMUSEd's: all are drawn, the least sure masked again", sample_amused};
  auto temperature = choice_temperature_field();
  temperature.fallback = kTemperature;
  entry.options = {temperature, masking_schedule_field(), reused_context_field()};
  return entry;
}

}  // namespace tessera
