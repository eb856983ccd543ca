/// Chang et al., MaskGIT, arXiv:2202.04200, section 3.3.
#include <cmath>
#include <numbers>

#include "sampling/masked.h"

namespace tessera {
namespace {

std::vector<std::int64_t> cosine_plan(const ScheduleInput& input) {
  return plan_by_share(input, [](double done) { return std::cos(std::numbers::pi / 2 * done); });
}

}  // namespace

ScheduleEntry cosine_schedule() {
  return {"cosine", "few cells at first, more and more", cosine_plan};
}

}  // namespace tessera
