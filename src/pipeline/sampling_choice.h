/// How a user asks for a fill: what is left open is decided by the model. The command line and the server share it.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "pipeline/pipeline.h"

namespace tessera {

struct SamplingChoice {
  FillOptions fill;
  PromptOptions prompt;
  std::int64_t steps = 0;             // 0: T of the model
  std::string sampler;                // empty: by the model's process
  std::optional<double> temperature;  // none: 1, or 0.8 on a canvas larger than the model's own (the paper's)
};

/// The options with what the model decides filled in. canvas: the grid that will be filled; the model's own if empty.
/// Throws UsageError naming the option that is out of range.
FillOptions resolve(const SamplingChoice& choice, Pipeline& pipeline, Extent canvas = {});

/// For metadata and reports.
nlohmann::json to_json(const FillOptions& options);

}  // namespace tessera
