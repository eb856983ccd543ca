/// How a bundle's author suggests to sample it: scheduler/config.json, `tessera.sampling`.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "sampling/sampling_options.h"

namespace tessera {

/// Of a chain, and of a sampler's walk through it, in a bundle's configuration.
inline constexpr std::int64_t kMostSteps = 1'000'000;

/// Taken where the user leaves the sampler open, the guidance scale wherever the user names none; what is not suggested
/// is decided by the process. In: the content of scheduler/config.json. Throws Error (beginning with `where`) naming
/// the field that is wrong.
SamplingOptions suggestion_from_config(const nlohmann::json& scheduler, const std::string& where);

/// `tessera.cross_entropy`: the mean cross-entropy of a cell (nats) with a share 0, 1/n .. of the cells known, which
/// the schedule dp plans by; empty where it was not measured. Throws Error naming what is wrong.
std::vector<double> cross_entropy_from_config(const nlohmann::json& scheduler, const std::string& where);

}  // namespace tessera
