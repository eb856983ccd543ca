/// The steps of least total cost by dynamic programming: a step that opens cells k to l at once costs (l - k) times the
/// mean cross-entropy with k cells known. Watson et al., arXiv:2106.03802; Hoogeboom et al., arXiv:2110.02037, section
/// 3.3.
#include <algorithm>
#include <cmath>

#include "runtime/error.h"
#include "sampling/registry.h"

namespace tessera {
namespace {

constexpr std::int64_t kMostBlocks = 512;

/// The cross-entropy with a share of the cells known: the table's, which holds it for shares 0, 1/n .. (n-1)/n.
double cross_entropy_at(const std::vector<double>& table, double known) {
  const double place = known * static_cast<double>(table.size());
  const auto below = std::min(table.size() - 1, static_cast<std::size_t>(place));
  const auto above = std::min(table.size() - 1, below + 1);
  const double part = std::clamp(place - static_cast<double>(below), 0.0, 1.0);
  return table[below] * (1 - part) + table[above] * part;
}

std::vector<std::int64_t> dp_plan(const ScheduleInput& input) {
  if (!input.cross_entropy || input.cross_entropy->empty()) {
    throw UsageError(
        "schedule 'dp': the model holds no cross-entropy by known cells; `tessera evaluate --keep-cross-entropy` "
        "measures it");
  }
  // Large grids are planned in blocks of cells, so that the table stays small.
  const auto block = (input.open + kMostBlocks - 1) / kMostBlocks;
  const auto n = (input.open + block - 1) / block, steps = std::min(input.steps, n);
  const auto cells_of = [&](std::int64_t blocks) { return std::min(input.open, blocks * block); };
  std::vector<double> loss;  // of each cell with so many blocks of the open ones known
  for (std::int64_t k = 0; k < n; ++k) {
    const auto known = input.cells - input.open + cells_of(k);
    loss.push_back(
        cross_entropy_at(*input.cross_entropy, static_cast<double>(known) / static_cast<double>(input.cells)));
  }
  // cost[k]: least cost of opening the first k blocks in s steps; from[s - 1][k]: where its last step began.
  std::vector<double> cost(static_cast<std::size_t>(n + 1), INFINITY);
  cost[0] = 0;
  std::vector<std::vector<std::int64_t>> from;
  for (std::int64_t s = 1; s <= steps; ++s) {
    std::vector<double> next(cost.size(), INFINITY);
    std::vector<std::int64_t> begun(cost.size(), 0);
    for (auto l = s; l <= n; ++l) {
      for (auto k = s - 1; k < l; ++k) {
        const auto opened = static_cast<double>(cells_of(l) - cells_of(k));
        const double total = cost[static_cast<std::size_t>(k)] + opened * loss[static_cast<std::size_t>(k)];
        if (total >= next[static_cast<std::size_t>(l)]) continue;
        next[static_cast<std::size_t>(l)] = total;
        begun[static_cast<std::size_t>(l)] = k;
      }
    }
    cost = std::move(next);
    from.push_back(std::move(begun));
  }
  std::vector<std::int64_t> plan;
  for (auto s = steps, l = n; s >= 1; --s) {
    plan.push_back(input.open - cells_of(l));
    l = from[static_cast<std::size_t>(s - 1)][static_cast<std::size_t>(l)];
  }
  std::reverse(plan.begin(), plan.end());
  return plan;
}

}  // namespace

ScheduleEntry dp_schedule() {
  return {"dp", "the steps of least measured cost (dynamic programming)", dp_plan};
}

}  // namespace tessera
