/// The masked sampler: an order, an unmasking schedule and a draw. Samplers that are such a choice with a name of their
/// own call it.
#pragma once

#include "sampling/registry.h"

namespace tessera {

/// Fills step by step: the schedule says how many cells stay open, the order which of them come next, and each is drawn
/// given all that was known before the step.
void sample_masked_by(FillState& state, const OrderEntry& order, const ScheduleEntry& schedule);

/// Noise on the scores of orders that see the network.
OptionField choice_temperature_field();

/// The plan of a schedule whose share of open cells after a part `done` of the steps is `open_share(done)`: rounded
/// down, at least one cell a step and, but for the last step, one left (Chang et al., arXiv:2202.04200, section 3.2).
std::vector<std::int64_t> plan_by_share(const ScheduleInput& input, double (*open_share)(double done));

}  // namespace tessera
