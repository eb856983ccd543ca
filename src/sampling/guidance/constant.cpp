/// The whole guidance at every step.
#include "sampling/registry.h"

namespace tessera {

GuidanceEntry constant_guidance() {
  return {"constant", "as much at every step", [](double, const GuidanceShape&) { return 1.0; }};
}

}  // namespace tessera
