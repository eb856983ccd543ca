/// How a user asks for a fill: what is left open is decided by the model. The command line and the server share it.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "pipeline/pipeline.h"

namespace tessera {

struct SamplingChoice {
  SamplingOptions options;  // what was given
  Seed seed = 0;
  std::uint64_t first_image = 0;     // FillOptions::first_image
  std::int64_t images_per_call = 0;  // FillOptions::images_per_call
};

/// The options with what the model decides filled in. The bundle's suggestion (sampling_suggestion.h) counts where the
/// sampler is left open and the canvas is no larger than the model's own; a larger one has the paper's settings.
/// canvas: the grid that will be filled; the model's own if empty. Throws UsageError naming the option that is out of
/// range, or that was given and is not used.
FillOptions resolve(const SamplingChoice& choice, Pipeline& pipeline, Extent canvas = {});

/// Whatever is left open in `options` (FillOptions::sampler empty) decided in the same way; options that name a sampler
/// are returned as they are, with the model's process.
FillOptions decided_by_model(const FillOptions& options, Pipeline& pipeline, Extent canvas = {});

/// The options without those that the model's sampler does not use, for models that are to be asked alike. dropped: the
/// names of the others.
SamplingOptions used_by(const SamplingOptions& options, Pipeline& pipeline, std::vector<std::string>& dropped);

/// The condition that the options name.
PromptOptions prompt_of(const SamplingOptions& options);

/// For metadata and reports: the seed and what was used, nothing else.
nlohmann::json to_json(const FillOptions& options);

}  // namespace tessera
