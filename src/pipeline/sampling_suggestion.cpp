#include "pipeline/sampling_suggestion.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "runtime/error.h"
#include "sampling/fill.h"

namespace tessera {
namespace {

constexpr double kHighestTemperature = 100;
constexpr double kHighestGuidance = 1000;
constexpr double kHighestContextGuidance = 100;

}  // namespace

SamplingSuggestion SamplingSuggestion::from_config(const nlohmann::json& scheduler, const std::string& where) {
  SamplingSuggestion suggestion;
  const auto own = scheduler.is_object() ? scheduler.value("tessera", nlohmann::json::object()) : nlohmann::json();
  if (!own.is_object() || !own.contains("sampling")) return suggestion;
  const auto& sampling = own["sampling"];
  require(sampling.is_object(), "{}: sampling is {}, expected an object", where, sampling.dump());
  for (const auto& [name, value] : sampling.items()) {
    if (name == "sampler") {
      const auto names = sampler_names();
      require(value.is_string() && std::find(names.begin(), names.end(), value.get<std::string>()) != names.end(),
              "{}: sampler {}: expected one of {}", where, value.dump(), fmt::join(names, ", "));
      suggestion.sampler = value.get<std::string>();
    } else if (name == "steps") {
      require(value.is_number_integer() && value > 0 && value <= kMostSteps, "{}: steps {}, expected 1 to {}", where,
              value.dump(), kMostSteps);
      suggestion.steps = value.get<std::int64_t>();
    } else if (name == "temperature") {
      require(value.is_number() && value > 0.0 && value <= kHighestTemperature,
              "{}: temperature {}, expected above 0, at most {}", where, value.dump(), kHighestTemperature);
      suggestion.temperature = value.get<double>();
    } else if (name == "context_guidance") {
      require(value.is_number() && value >= 0.0 && value <= kHighestContextGuidance,
              "{}: context_guidance {}, expected 0 to {}", where, value.dump(), kHighestContextGuidance);
      suggestion.context_guidance = value.get<double>();
    } else if (name == "guidance_scale") {
      require(value.is_number() && value >= 0.0 && value <= kHighestGuidance, "{}: guidance_scale {}, expected 0 to {}",
              where, value.dump(), kHighestGuidance);
      suggestion.guidance_scale = value.get<double>();
    } else {
      fail("{}: sampling.{}: expected sampler, steps, temperature, context_guidance or guidance_scale", where, name);
    }
  }
  return suggestion;
}

}  // namespace tessera
