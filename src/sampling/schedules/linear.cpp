#include <algorithm>

#include "sampling/registry.h"

namespace tessera {
namespace {

std::vector<std::int64_t> linear_plan(const ScheduleInput& input) {
  const auto steps = std::min(input.steps, input.open);
  std::vector<std::int64_t> plan;
  for (std::int64_t step = 1; step <= steps; ++step) plan.push_back(input.open - input.open * step / steps);
  return plan;
}

}  // namespace

ScheduleEntry linear_schedule() {
  return {"linear", "as many cells at every step", linear_plan};
}

}  // namespace tessera
