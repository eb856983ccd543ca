/// MaskGIT's sampler: every step draws all masked cells and keeps the most confident. Chang et al., arXiv:2202.04200.
#include "sampling/masked.h"

namespace tessera {
namespace {

void sample_confidence(FillState& state) {
  sample_masked_by(state, orders().at("confidence"), unmasking_schedules().at("cosine"));
}

}  // namespace

SamplerEntry confidence_sampler() {
  SamplerEntry entry{"confidence", "MaskGIT's: the surest first, few at first", sample_confidence};
  entry.options = {choice_temperature_field(), reused_context_field()};
  return entry;
}

}  // namespace tessera
