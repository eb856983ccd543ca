/// How a bundle's author suggests to sample it: scheduler/config.json, `tessera.sampling`.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

namespace tessera {

/// Of a chain, and of a sampler's walk through it, in a bundle's configuration.
inline constexpr std::int64_t kMostSteps = 1'000'000;

/// Taken where the user leaves the sampler open, the guidance scale wherever the user names none; what is not suggested
/// is decided by the process.
struct SamplingSuggestion {
  std::string sampler;                     // one of sampler_names(); empty: none
  std::int64_t steps = 0;                  // 0: none
  std::optional<double> temperature;       // above 0
  std::optional<double> context_guidance;  // 0 to 100
  std::optional<double> guidance_scale;    // 0 or more

  /// Of the content of scheduler/config.json. Throws Error (beginning with `where`) naming the field that is wrong.
  static SamplingSuggestion from_config(const nlohmann::json& scheduler, const std::string& where);
};

}  // namespace tessera
