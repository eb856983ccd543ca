#include "sampling/registry.h"

namespace tessera {

// A file each; the first sampler that suits a network is its default.
SamplerEntry amused_sampler();
SamplerEntry ancestral_sampler();
SamplerEntry autoregressive_sampler();
SamplerEntry chain_sampler();
SamplerEntry confidence_sampler();
SamplerEntry halton_sampler();
SamplerEntry masked_sampler();
SamplerEntry mlm_sampler();
SamplerEntry purity_sampler();
SamplerEntry raster_sampler();
SamplerEntry redraw_sampler();

OrderEntry confidence_order();
OrderEntry entropy_order();
OrderEntry halton_order();
OrderEntry margin_order();
OrderEntry random_order();
OrderEntry raster_order();

ScheduleEntry arccos_schedule();
ScheduleEntry cosine_schedule();
ScheduleEntry dp_schedule();
ScheduleEntry linear_schedule();

GuidanceEntry constant_guidance();
GuidanceEntry cosine_guidance();
GuidanceEntry interval_guidance();
GuidanceEntry linear_guidance();

Registry<OrderEntry>& orders() {
  static Registry<OrderEntry> registry(
      "order", {random_order(), confidence_order(), margin_order(), entropy_order(), halton_order(), raster_order()});
  return registry;
}

Registry<ScheduleEntry>& unmasking_schedules() {
  static Registry<ScheduleEntry> registry("schedule",
                                          {linear_schedule(), cosine_schedule(), arccos_schedule(), dp_schedule()});
  return registry;
}

Registry<GuidanceEntry>& guidance_schedules() {
  static Registry<GuidanceEntry> registry(
      "guidance schedule", {constant_guidance(), linear_guidance(), cosine_guidance(), interval_guidance()});
  return registry;
}

Registry<SamplerEntry>& samplers() {
  static Registry<SamplerEntry> registry(
      "sampler",
      {ancestral_sampler(), autoregressive_sampler(), chain_sampler(), confidence_sampler(), masked_sampler(),
       mlm_sampler(), purity_sampler(), raster_sampler(), halton_sampler(), redraw_sampler(), amused_sampler()});
  return registry;
}

const SamplerEntry& reading_order_sampler() {
  return samplers().at("raster");
}

const SamplerEntry& default_sampler(bool causal, bool has_mask) {
  for (const auto& entry : samplers().entries()) {
    if (entry.suits(causal, has_mask)) return entry;
  }
  fail("no sampler suits {} network {} MASK", causal ? "a causal" : "a bidirectional", has_mask ? "with" : "without");
}

const SamplerEntry* suggested_sampler(bool causal, bool has_mask) {
  for (const auto& entry : samplers().entries()) {
    if (entry.suggested_steps > 0 && entry.suits(causal, has_mask)) return &entry;
  }
  return nullptr;
}

std::vector<std::string> suitable_samplers(bool causal, bool has_mask) {
  std::vector<std::string> names;
  for (const auto& entry : samplers().entries()) {
    if (entry.suits(causal, has_mask)) names.push_back(entry.name);
  }
  return names;
}

}  // namespace tessera
