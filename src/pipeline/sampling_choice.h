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
  std::int64_t steps = 0;                  // 0: as the bundle suggests, else T of the model
  std::string sampler;                     // empty: as the bundle suggests, else by the model's process
  std::optional<double> context_guidance;  // none: as suggested, else 1
  std::optional<double> temperature;       // none: as suggested, else 1, or 0.8 on a canvas larger than the model's own
};

/// The options with what the model decides filled in. The bundle's suggestion (sampling_suggestion.h) counts where the
/// sampler is left open and the canvas is no larger than the model's own; a larger one has the paper's settings.
/// canvas: the grid that will be filled; the model's own if empty. Throws UsageError naming the option that is out of
/// range.
FillOptions resolve(const SamplingChoice& choice, Pipeline& pipeline, Extent canvas = {});

/// Whatever is left open in `options` (FillOptions::sampler empty) decided in the same way; options that name a sampler
/// are returned as they are, with the model's process.
FillOptions decided_by_model(const FillOptions& options, Pipeline& pipeline, Extent canvas = {});

/// For metadata and reports.
nlohmann::json to_json(const FillOptions& options);

}  // namespace tessera
