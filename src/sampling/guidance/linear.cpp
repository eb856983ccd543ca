/// None at first, all of it at the end, in proportion to what is known: Chang et al., Muse, arXiv:2301.00704, section
/// 2.7, raise the scale so with the steps.
#include <cmath>

#include "sampling/registry.h"

namespace tessera {

GuidanceEntry linear_guidance() {
  GuidanceEntry entry{"linear", "more and more, with what is known",
                      [](double known, const GuidanceShape& shape) { return std::pow(known, shape.power); }};
  entry.options = {guidance_power_field()};
  return entry;
}

}  // namespace tessera
