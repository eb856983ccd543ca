/// Half a cosine of a power of what is known: little for long, then all. Gao et al., Masked Diffusion Transformer,
/// arXiv:2303.14389, equation 7 ("power-cosine").
#include <cmath>
#include <numbers>

#include "sampling/registry.h"

namespace tessera {

GuidanceEntry cosine_guidance() {
  GuidanceEntry entry{"cosine", "little for long, then all", [](double known, const GuidanceShape& shape) {
                        return (1 - std::cos(std::numbers::pi * std::pow(known, shape.power))) / 2;
                      }};
  entry.options = {guidance_power_field()};
  return entry;
}

}  // namespace tessera
