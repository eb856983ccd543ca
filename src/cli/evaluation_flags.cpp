#include "cli/evaluation_flags.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "checkpoint/bundle.h"
#include "checkpoint/torch_archive.h"
#include "cli/data_flags.h"
#include "data/dataset.h"
#include "runtime/error.h"
#include "runtime/progress.h"

namespace tessera::cli {
namespace {

const std::vector<std::string> kMetrics = {"likelihood", "reconstruction", "distribution", "shape",
                                           "neighbours", "captions",       "captioning"};

constexpr const char* kDefaultFeatures = "mobilenetv2";

/// What --features takes: a network that ships, codec, or a JSON file.
std::string feature_choices() {
  return fmt::format("{}, codec, or a feature network's JSON file", fmt::join(shipped_backbone_names(), ", "));
}

void check_features(const std::string& name) {
  const auto shipped = shipped_backbone_names();
  const bool known = name.empty() || name == "codec" || name.ends_with(".json") ||
                     std::find(shipped.begin(), shipped.end(), name) != shipped.end();
  if (!known) throw UsageError(fmt::format("--features '{}': expected one of {}", name, feature_choices()));
}

TensorMap weights_of(const std::string& file) {
  return looks_like_torch_archive(file) ? load_torch_archive(file).tensors() : load_safetensors(file);
}

}  // namespace

bool EvaluationFlags::wants(const std::string& metric) const {
  if (metric == "captions" && captions.count > 0) return true;
  return std::find(metrics.begin(), metrics.end(), metric) != metrics.end();
}

void EvaluationFlags::validate() const {
  for (const auto& metric : metrics) {
    if (std::find(kMetrics.begin(), kMetrics.end(), metric) == kMetrics.end()) {
      throw UsageError(fmt::format("--metrics '{}': expected some of {}", metric, fmt::join(kMetrics, ", ")));
    }
  }
  if (lpips_vgg.empty() != lpips_heads.empty()) throw UsageError("--lpips-vgg and --lpips-heads go together");
  if (!inception.empty() + !features_from.empty() + (!features.empty() && features != "codec") > 1)
    throw UsageError("--features, --inception and --features-from: expected one of them");
  if (!inception.empty() && features == "codec")
    throw UsageError("--features codec and --inception: expected one of them");
  if (feature_size < 0 || feature_size > 2048)
    throw UsageError(fmt::format("--feature-size {}: expected 0 (the network's own) to 2048", feature_size));
  if (feature_size > 0 && (!inception.empty() || !features_from.empty() || features == "codec"))
    throw UsageError("--feature-size: only feature networks of --features are given a size");
  check_features(features);
  if (processes < 1 || processes > 256) throw UsageError(fmt::format("--processes {}: expected 1 to 256", processes));
  if (pixel_bits < 0 || pixel_bits > 8)
    throw UsageError(fmt::format("--pixel-bits {}: expected 0 (off) to 8", pixel_bits));
  if (images < 0) throw UsageError(fmt::format("--images {}: expected 0 (all) or more", images));
  if (neighbours < 1) throw UsageError(fmt::format("--neighbours {}: expected 1 or more", neighbours));
  if (count < 1) throw UsageError(fmt::format("--count {}: expected 1 or more", count));
  if (wants("captions")) {
    if (captions.count < 2) throw UsageError(fmt::format("--captions {}: expected 2 or more", captions.count));
    if (!captions.where.empty()) {
      CatalogueChoice asked;
      asked.where = {captions.where};
      asked.validate();
    }
    if (captions.each < 1) throw UsageError(fmt::format("--captions-each {}: expected 1 or more", captions.each));
    if (sampling.options.has("prompt"))
      throw UsageError("--captions: the prompts are the pictures' own captions, expected no --prompt");
  }
  if (part_size < 1) throw UsageError(fmt::format("--part-size {}: expected 1 or more", part_size));
  distribution.prdc.validate();
  distribution.kid.validate();
  shape.validate();
  likelihood.bound.validate();
  (void)bound_form_from(form);
  (void)pixel_form_from(pixel_form);
  (void)inception_input_from(inception_input);
  for (const auto& name : {split, real}) {
    if (name != "train" && name != "validation" && name != "all") {
      throw UsageError(fmt::format("split '{}': expected one of train, validation, all", name));
    }
  }
}

void add_evaluation_flags(CLI::App& verb, EvaluationFlags& flags) {
  // Figures are compared with other people's: rounded products only where asked for.
  flags.model.options.dtype = "float32";
  verb.get_option("--dtype")->capture_default_str();
  add_sampling_flags(verb, flags.sampling);
  verb.add_option("--data", flags.data, "pictures: folder, zip, tar shards or .tessera-pack")->group("Data");
  verb.add_option("--split", flags.split, "held-out part for likelihood and reconstruction: train, validation or all")
      ->capture_default_str()
      ->group("Data");
  verb.add_option("--real", flags.real, "part that samples are compared with and neighbours are sought in")
      ->capture_default_str()
      ->group("Data");
  verb.add_option("--images", flags.images, "pictures of --split; 0: all")->capture_default_str()->group("Data");
  verb.add_option("--split-seed", flags.split_seed, "as in training")->capture_default_str()->group("Data");
  add_choice_flags(verb, flags.choice, "Data");
  verb.add_option("--validation-fraction", flags.validation_fraction, "as in training")
      ->capture_default_str()
      ->group("Data");
  verb.add_option("--background", flags.background, "colour under transparent pixels")
      ->capture_default_str()
      ->group("Data");
  verb.add_flag("--no-cache", flags.no_cache, "neither read nor write cached features")->group("Data");
  verb.add_option("--metrics", flags.metrics, fmt::format("some of {}", fmt::join(kMetrics, ", ")))
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str();
  verb.add_option("--features", flags.features,
                  fmt::format("{} (the model's own) [{}]", feature_choices(), kDefaultFeatures))
      ->group("Features");
  verb.add_option("--feature-size", flags.feature_size,
                  "pixels a side that pictures are resized to for --features; 0: the network's own (128 of those that "
                  "ship)")
      ->capture_default_str()
      ->group("Features");
  verb.add_option("--inception", flags.inception,
                  "InceptionV3 weights (pt_inception-2015-12-05-6726825d.pth): figures as published")
      ->group("Features");
  verb.add_option("--inception-input", flags.inception_input, "pytorch-fid, torch-fidelity or clean-fid (antialiased)")
      ->capture_default_str()
      ->group("Features");
  verb.add_option("--features-from", flags.features_from, "bundle whose codec gives the features")->group("Features");
  verb.add_option("-k,--nearest", flags.distribution.prdc.k,
                  "neighbour that sets a ball's radius (precision, recall, density, coverage)")
      ->capture_default_str()
      ->group("Features");
  verb.add_option("--kid-subsets", flags.distribution.kid.subsets, "random subsets of KID")
      ->capture_default_str()
      ->group("Features");
  verb.add_option("--kid-subset-size", flags.distribution.kid.subset_size, "rows of each; lowered to the smaller set")
      ->capture_default_str()
      ->group("Features");
  verb.add_option("--shape-rows", flags.shape.rows, "pictures of each set that the metric shape takes at most")
      ->capture_default_str()
      ->group("Features");
  verb.add_option("--topology-points", flags.shape.topology.points, "of a batch of MTop-Div, whose loops are followed")
      ->capture_default_str()
      ->group("Features");
  verb.add_option("--topology-batches", flags.shape.topology.batches, "that MTop-Div is the mean of")
      ->capture_default_str()
      ->group("Features");
  verb.add_option("--fid-infinity-points", flags.distribution.infinity.points, "sample sizes of FID-infinity; 0: off")
      ->capture_default_str()
      ->group("Features");
  verb.add_option("--lpips-vgg", flags.lpips_vgg, "VGG16 weights (vgg16-397923af.pth) for LPIPS")->group("Features");
  verb.add_option("--lpips-heads", flags.lpips_heads, "LPIPS v0.1 heads (vgg.pth)")->group("Features");
  verb.add_option("--likelihood-form", flags.form, "any-order or time-steps (the T-term sum of the released code)")
      ->capture_default_str()
      ->group("Likelihood");
  verb.add_option("--strata", flags.likelihood.bound.strata,
                  "draws an image, one in each part of the levels; 0: every level")
      ->capture_default_str()
      ->group("Likelihood");
  verb.add_option("--repeats", flags.likelihood.bound.repeats, "estimates an image; from 2 on its own error is known")
      ->capture_default_str()
      ->group("Likelihood");
  verb.add_flag("--antithetic", flags.likelihood.bound.antithetic,
                "each draw with its mirror image; twice the evaluations")
      ->group("Likelihood");
  verb.add_flag("--time-steps-too", flags.likelihood.also_time_steps, "the T-term sum beside the any-order estimate")
      ->group("Likelihood");
  verb.add_option("--confidence", flags.likelihood.confidence, "of the intervals")
      ->capture_default_str()
      ->check(CLI::Range(0.5, 0.9999))
      ->group("Likelihood");
  verb.add_option("--pixel-bits", flags.pixel_bits,
                  "n: pixel likelihood on n-bit images (codec with a Gaussian head); 0: off")
      ->capture_default_str()
      ->group("Likelihood");
  verb.add_option("--pixel-form", flags.pixel_form, "density (as released) or bins (a bound)")
      ->capture_default_str()
      ->group("Likelihood");
  verb.add_option("-n,--count", flags.count, "samples")->capture_default_str()->group("Samples");
  verb.add_option("--part-size", flags.part_size, "samples kept in one file; what a killed run loses at most")
      ->capture_default_str()
      ->group("Samples");
  verb.add_option("--processes", flags.processes, "that draw samples at a time")
      ->capture_default_str()
      ->group("Samples");
  verb.add_option("--captions", flags.captions.count,
                  "models with text: make pictures from this many captions of --split; is each nearest to its own real "
                  "picture?")
      ->group("Samples");
  verb.add_option("--captions-each", flags.captions.each, "pictures made from each of them")
      ->capture_default_str()
      ->group("Samples");
  verb.add_option("--concept-field", flags.captions.concept_field,
                  "field of the metadata that names what a picture shows, for the nearest concept")
      ->capture_default_str()
      ->group("Samples");
  verb.add_option("--style-field", flags.captions.style_field,
                  "field that names its style: a concept is judged by its pictures in other styles")
      ->capture_default_str()
      ->group("Samples");
  verb.add_option("--captions-where", flags.captions.where,
                  "only captions of pictures for which it holds: field=value or field!=value")
      ->group("Samples");
  verb.add_option("--attributes", flags.captions.attributes,
                  "fields of the metadata, with commas: how often a linear probe reads each from what was made of a "
                  "caption, beside its real picture")
      ->delimiter(',')
      ->group("Samples");
  verb.add_option("--probe-pictures", flags.captions.probe_pictures, "training pictures that the probes learn from")
      ->capture_default_str()
      ->check(CLI::PositiveNumber)
      ->group("Samples");
  verb.add_option("--neighbours", flags.neighbours, "training pictures shown beside each sample")
      ->capture_default_str()
      ->group("Samples");
  verb.add_option("--neighbours-shown", flags.neighbours_shown, "samples shown with their neighbours")
      ->capture_default_str()
      ->group("Samples");
}

nlohmann::ordered_json NamedModel::to_json() const {
  return {{"path", path}, {"codec_hash", codec_hash}, {"prior_hash", prior_hash}, {"dtype", pipeline.dtype()}};
}

NamedModel load_named(const ModelFlags& flags) {
  auto pipeline = load_model(flags);
  const auto bundle = load_bundle(flags.model);
  return {std::move(pipeline), flags.model, part_hash(bundle, "vqvae"), part_hash(bundle, "transformer")};
}

std::unique_ptr<FeatureNetwork> feature_network(const EvaluationFlags& flags, const NamedModel* model) {
  if (!flags.inception.empty()) return inception_features(flags.inception, inception_input_from(flags.inception_input));
  if (!flags.features_from.empty()) {
    auto of = flags.model;
    of.model = flags.features_from;
    const auto named = load_named(of);
    return codec_features(named.pipeline.codec(), named.codec_key(),
                          std::filesystem::path(named.path).filename().string());
  }
  const std::string name = flags.features.empty() ? kDefaultFeatures : flags.features;
  if (name != "codec") {
    const auto device = model ? model->pipeline.codec()->device() : torch::Device(torch::kCPU);
    auto backbone = name.ends_with(".json") ? load_backbone(name) : shipped_backbone(name);
    return backbone_features(std::move(backbone), flags.feature_size, device);
  }
  if (!model) throw UsageError("--features codec: no model here; expected --features-from BUNDLE");
  return codec_features(model->pipeline.codec(), model->codec_key(),
                        std::filesystem::path(model->path).filename().string());
}

std::unique_ptr<Lpips> lpips_of(const EvaluationFlags& flags) {
  if (flags.lpips_vgg.empty()) return nullptr;
  return std::make_unique<Lpips>(weights_of(flags.lpips_vgg), weights_of(flags.lpips_heads));
}

Dataset open_data(const EvaluationFlags& flags, std::int64_t size) {
  DatasetOptions options;
  options.path = flags.data;
  options.size = size;
  options.background = flags.background;
  options.split_seed = flags.split_seed;
  options.choice = flags.choice;
  options.validation_fraction = flags.validation_fraction;
  return Dataset::open(options);
}

std::filesystem::path cache_of(const EvaluationFlags& flags) {
  return flags.no_cache ? std::filesystem::path() : default_cache_folder();
}

}  // namespace tessera::cli
