/// All of it within a part of the way, none before and after. Kynkäänniemi et al., arXiv:2404.07724.
#include "sampling/registry.h"

namespace tessera {
namespace {

OptionField bound(const char* name, const char* help, double fallback, const char* label) {
  OptionField field;
  field.name = name;
  field.help = help;
  field.fallback = fallback;
  field.least = 0;
  field.most = 1;
  field.label = label;
  field.step = 0.05;
  return field;
}

}  // namespace

GuidanceEntry interval_guidance() {
  GuidanceEntry entry{"interval", "all of it within a part of the way", [](double known, const GuidanceShape& shape) {
                        return known >= shape.from && known <= shape.to ? 1.0 : 0.0;
                      }};
  entry.options = {bound("guidance_from", "share of the image that is known where guidance begins", 0, "Guided from"),
                   bound("guidance_to", "share of the image that is known where guidance ends", 1, "Guided to")};
  return entry;
}

}  // namespace tessera
