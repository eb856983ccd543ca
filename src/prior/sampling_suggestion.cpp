#include "prior/sampling_suggestion.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "runtime/error.h"
#include "sampling/amused.h"

namespace tessera {
namespace {

constexpr std::size_t kMostShares = 65536;

/// The content's `tessera` object.
nlohmann::json own_part(const nlohmann::json& scheduler) {
  return scheduler.is_object() ? scheduler.value("tessera", nlohmann::json::object()) : nlohmann::json();
}

}  // namespace

SamplingOptions suggestion_from_config(const nlohmann::json& scheduler, const std::string& where) {
  SamplingOptions suggestion;
  const auto own = own_part(scheduler);
  if (!own.is_object() || !own.contains("sampling")) return suggestion_of_hub(scheduler);
  const auto& sampling = own["sampling"];
  require(sampling.is_object(), "{}: sampling is {}, expected an object", where, sampling.dump());
  const auto fields = SamplingOptions::fields();
  for (const auto& [name, value] : sampling.items()) {
    const auto field = std::find_if(fields.begin(), fields.end(), [&, &key = name](const OptionField& each) {
      return each.suggestible && each.config_name() == key;
    });
    if (field == fields.end()) {
      std::vector<std::string> names;
      for (const auto& each : fields) {
        if (each.suggestible) names.push_back(each.config_name());
      }
      fail("{}: sampling.{}: expected one of {}", where, name, fmt::join(names, ", "));
    }
    try {
      suggestion.set(field->name, field->from_json(value));
    } catch (const UsageError& error) {
      fail("{}: sampling: {}", where, error.what());
    }
  }
  return suggestion;
}

std::vector<double> cross_entropy_from_config(const nlohmann::json& scheduler, const std::string& where) {
  const auto own = own_part(scheduler);
  if (!own.is_object() || !own.contains("cross_entropy")) return {};
  const auto& table = own["cross_entropy"];
  require(table.is_array() && !table.empty() && table.size() <= kMostShares,
          "{}: cross_entropy: expected a list of 1 to {} numbers", where, kMostShares);
  std::vector<double> values;
  for (const auto& value : table) {
    require(value.is_number() && std::isfinite(value.get<double>()) && value.get<double>() >= 0,
            "{}: cross_entropy holds {}, expected numbers of 0 or more", where, value.dump());
    values.push_back(value.get<double>());
  }
  return values;
}

}  // namespace tessera
