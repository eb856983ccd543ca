/// The mirror of the cosine, concave at first and steep at the end. Besnier and Chen, "A PyTorch reproduction of masked
/// generative image transformer", arXiv:2310.14400, section 3.
#include <cmath>
#include <numbers>

#include "sampling/masked.h"

namespace tessera {
namespace {

std::vector<std::int64_t> arccos_plan(const ScheduleInput& input) {
  return plan_by_share(input, [](double done) { return std::acos(done) * 2 / std::numbers::pi; });
}

}  // namespace

ScheduleEntry arccos_schedule() {
  return {"arccos", "about as many cells at every step, many at the last", arccos_plan};
}

}  // namespace tessera
