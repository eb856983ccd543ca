/// The inference bundle that a training writes: parts, weights, and a README.md that says what it is and how good.
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "checkpoint/bundle.h"
#include "training/recorder.h"

namespace tessera {

/// What the model card says of one part.
struct ModelCard {
  std::string part;         // "codec" or "prior"
  std::string description;  // one sentence
  Metrics figures;          // of the last validation
  nlohmann::json recipe;    // every setting
};

/// Writes vqvae/ (config, weights), model_index.json and the card's section.
void write_codec_bundle(const std::filesystem::path& bundle, const nlohmann::json& config, const TensorMap& weights,
                        const ModelCard& card);
/// Writes what `put` makes of the parts beside the codec, and the card's section.
void write_prior_bundle(const std::filesystem::path& bundle, const ModelCard& card,
                        const std::function<void(Bundle&)>& put);

}  // namespace tessera
