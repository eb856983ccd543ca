#include "denoiser/guided_rows.h"

#include <cmath>

namespace tessera {
namespace {

constexpr double kNoGuidance = 1e-3;  // scales this near to 1 are 1, as published

bool needs_condition(double scale) {
  return scale != 0;
}

bool needs_null(double scale) {
  return std::abs(scale - 1) >= kNoGuidance;
}

/// Each cell's own of a value a row, [M, 1] float32.
torch::Tensor by_cell(const std::vector<double>& of_row, const torch::Tensor& rows, std::int64_t cells) {
  auto values = torch::empty({rows.size(0), 1}, torch::kFloat32);
  for (std::int64_t i = 0; i < rows.size(0); ++i) {
    const auto row = static_cast<std::size_t>(rows.data_ptr<std::int64_t>()[i] / cells);
    values.data_ptr<float>()[i] = static_cast<float>(of_row.at(row));
  }
  return values;
}

}  // namespace

torch::Tensor guided_look(const Look& look, const std::vector<Condition>& conditions, const EvaluateHalves& evaluate,
                          MixHalves mix) {
  const auto count = look.tokens.size(0), cells = look.tokens.size(1);
  const auto known = static_cast<std::int64_t>(conditions.size());
  Halves halves;
  std::vector<std::int64_t> with_null, with_condition;  // place of each row's evaluations; -1: it has none
  std::vector<std::int64_t> own;
  std::vector<double> scales;
  for (std::int64_t n = 0; n < count; ++n) {
    own.push_back(look.condition_of(n, known));
    scales.push_back(look.scaled(n, conditions[static_cast<std::size_t>(own.back())].scale));
  }
  const auto add = [&](std::vector<std::int64_t>& places, bool (*needed)(double)) {
    for (std::int64_t n = 0; n < count; ++n) {
      const auto which = own[static_cast<std::size_t>(n)];
      const bool is_needed = needed(scales[static_cast<std::size_t>(n)]);
      places.push_back(is_needed ? static_cast<std::int64_t>(halves.rows.size()) : -1);
      if (!is_needed) continue;
      halves.rows.push_back(n);
      halves.conditions.push_back(which);
    }
  };
  // The unconditional half first, as published.
  add(with_null, needs_null);
  halves.nulls = halves.rows.size();
  add(with_condition, needs_condition);

  const auto rows = look.rows.to(torch::kCPU).contiguous();
  std::vector<std::int64_t> at;                     // cells evaluated, flat over the halves' rows
  std::vector<std::int64_t> null_of, condition_of;  // of each cell asked for its place in `at`; -1: none
  const auto place = [&](const std::vector<std::int64_t>& places, std::vector<std::int64_t>& into) {
    for (std::int64_t i = 0; i < rows.size(0); ++i) {
      const auto flat = rows.data_ptr<std::int64_t>()[i];
      const auto row = places.at(static_cast<std::size_t>(flat / cells));
      into.push_back(row < 0 ? -1 : static_cast<std::int64_t>(at.size()));
      if (row >= 0) at.push_back(row * cells + flat % cells);
    }
  };
  place(with_null, null_of);
  const auto nulls = static_cast<std::int64_t>(at.size());
  place(with_condition, condition_of);
  const auto wanted = rows.size(0), all = static_cast<std::int64_t>(at.size());
  const auto found = evaluate(halves, torch::tensor(at));
  if (nulls == 0 || nulls == all) return found;  // every row by its condition alone, or by none
  if (nulls == wanted && all == 2 * wanted) {    // every row by both
    const auto scale = by_cell(scales, rows, cells);
    const auto parts = found.chunk(2, 0);
    return mix(parts[0], parts[1], scale.to(found.device()));
  }
  // Some rows by both, others by one: a missing half is the other one, which any scale leaves as it is.
  for (std::size_t i = 0; i < null_of.size(); ++i) {
    if (null_of[i] < 0) null_of[i] = condition_of[i];
    if (condition_of[i] < 0) condition_of[i] = null_of[i];
  }
  const auto null = found.index_select(0, torch::tensor(null_of).to(found.device()));
  const auto given = found.index_select(0, torch::tensor(condition_of).to(found.device()));
  const auto both = torch::tensor(null_of).ne(torch::tensor(condition_of)).unsqueeze(1).to(found.device());
  return torch::where(both, mix(null, given, by_cell(scales, rows, cells).to(found.device())), given);
}

}  // namespace tessera
