/// Flags and inputs that `tessera evaluate` and `tessera compare` share: which data, which features, which figures.
#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/model_flags.h"
#include "data/catalogue_choice.h"
#include "data/dataset.h"
#include "metrics/evaluation.h"
#include "metrics/samples.h"

namespace tessera::cli {

struct EvaluationFlags {
  ModelFlags model;
  SamplingFlags sampling;
  // Data.
  std::string data, split = "validation", real = "train", background = "#ffffff";
  std::uint64_t split_seed = 0;
  CatalogueChoice choice;  // of captions, parts and pictures
  double validation_fraction = 0.05;
  std::int64_t images = 0;  // of `split` that likelihood and reconstruction take; 0: all
  bool no_cache = false;
  // Features.
  std::string features;  // empty: kDefaultFeatures, unless --inception or --features-from say otherwise
  std::int64_t feature_size = 0;
  std::string inception, inception_input = "torch-fidelity", features_from, lpips_vgg, lpips_heads;
  DistributionOptions distribution;
  ShapeOptions shape;
  // Likelihood.
  std::string form = "any-order", pixel_form = "density";
  LikelihoodOptions likelihood;
  std::int64_t pixel_bits = 0;
  // Samples.
  std::vector<std::string> metrics = {"likelihood", "reconstruction", "distribution", "neighbours"};
  std::int64_t count = 1000, part_size = 64, neighbours = 5, neighbours_shown = 16;
  int processes = 1;
  CaptionOptions captions;  // count 0: not measured
  std::string output;

  bool wants(const std::string& metric) const;
  /// Throws UsageError naming the flag.
  void validate() const;
};

/// All flags but the model's (which must be there already), the output's and the sweep's.
void add_evaluation_flags(CLI::App& verb, EvaluationFlags& flags);

/// A loaded model and who it is.
struct NamedModel {
  Pipeline pipeline;
  std::string path, codec_hash, prior_hash;
  /// Weights and precision, for the names of what was computed with them.
  std::string codec_key() const { return fmt::format("{} {}", codec_hash, pipeline.dtype()); }
  std::string prior_key() const { return fmt::format("{} {}", prior_hash, pipeline.dtype()); }
  nlohmann::ordered_json to_json() const;
};
NamedModel load_named(const ModelFlags& flags);

/// The features that the flags name: a feature network that ships or the user's own, Inception, a bundle's codec, or
/// this model's own.
std::unique_ptr<FeatureNetwork> feature_network(const EvaluationFlags& flags, const NamedModel* model);
/// LPIPS from the two files; null where none are given.
std::unique_ptr<Lpips> lpips_of(const EvaluationFlags& flags);
Dataset open_data(const EvaluationFlags& flags, std::int64_t size);
std::filesystem::path cache_of(const EvaluationFlags& flags);

/// Draws the samples (in flags.processes processes) into `folder` where they are not there yet, and reads them.
SampleSet sampled(const EvaluationFlags& flags, NamedModel& model, const FillOptions& fill,
                  const std::filesystem::path& folder);

/// Everything that flags.metrics asks of one model. Out: the figures; the report gets its sections.
nlohmann::ordered_json evaluate_model(const EvaluationFlags& flags, NamedModel& model,
                                      const std::filesystem::path& folder, HtmlReport& report);

}  // namespace tessera::cli
