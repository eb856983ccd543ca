#include <algorithm>

#include "sampling/registry.h"

namespace tessera {

OptionField guidance_power_field() {
  OptionField field;
  field.name = "guidance_power";
  field.help = "power of what is known: below 1 guidance comes early, above 1 late";
  field.fallback = 1.0;
  field.least = 0.05;
  field.most = 20;
  field.label = "Power of guidance";
  field.shown_most = 4;
  field.step = 0.1;
  return field;
}

double guidance_share(const FillOptions& options, double known) {
  const auto& entry = guidance_schedules().at(options.guidance_schedule);
  const auto value = [&](const char* name, double otherwise) {
    const auto given = options.own.find(name);
    return given != options.own.end() ? std::get<double>(given->second) : otherwise;
  };
  const GuidanceShape defaults;
  const GuidanceShape shape{value("guidance_power", defaults.power), value("guidance_from", defaults.from),
                            value("guidance_to", defaults.to)};
  return std::clamp(entry.share(std::clamp(known, 0.0, 1.0), shape), 0.0, 1.0);
}

}  // namespace tessera
