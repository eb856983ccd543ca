/// The parts of an evaluation, each from data to figures: what `tessera evaluate` and `tessera compare` put together.
/// Every function returns the figures as JSON (see docs/metrics.md for each) and adds them to the report.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "codec/perceptual.h"
#include "data/dataset.h"
#include "metrics/feature_network.h"
#include "metrics/frechet.h"
#include "metrics/heat_trace.h"
#include "metrics/kid.h"
#include "metrics/pixel_likelihood.h"
#include "metrics/prdc.h"
#include "metrics/prior_likelihood.h"
#include "metrics/report.h"
#include "metrics/topology_divergence.h"
#include "pipeline/pipeline.h"

namespace tessera {

struct DistributionOptions {
  PrdcOptions prdc;
  KidOptions kid;               // subset_size is lowered to the smaller set, and the report says so
  FidInfinityOptions infinity;  // points 0: no FID-infinity
};

/// Fréchet distance (FID where the features are the published ones), the same for infinitely many samples, kernel
/// distance (KID), PRDC of two feature sets. `network` names the features and the distance in the figures.
nlohmann::ordered_json distribution_figures(const torch::Tensor& real, const torch::Tensor& fake,
                                            const FeatureNetwork& network, const DistributionOptions& options);

struct ShapeOptions {
  ImdOptions imd;
  TopologyDivergenceOptions topology;
  std::int64_t rows = 5000;  // of each set at most, drawn at random

  /// Throws UsageError naming the option.
  void validate() const;
};

/// IMD of two feature sets, and MTop-Div in either direction: loops of the real pictures that the generated ones leave
/// open, and the other way round.
nlohmann::ordered_json shape_figures(const torch::Tensor& real, const torch::Tensor& fake,
                                     const FeatureNetwork& network, const ShapeOptions& options);

/// Token grids of some images and what each image is called.
struct NamedGrids {
  torch::Tensor tokens;            // [N, L] int64
  std::vector<std::string> names;  // N
};

struct LikelihoodOptions {
  BoundOptions bound;
  double confidence = 0.95;
  bool also_time_steps = false;  // the released code's T-term sum beside the any-order estimate
};

/// Bits per token of every grid, the mean with its interval, the most and least likely images. The absorbing prior's
/// bound, or the autoregressive prior's exact value, under a condition for each grid where there are any (then also
/// under `none`, one for all: what the condition tells). known_cells: h * w of the prior. Out, beside the figures, in
/// `nats` [N] if given.
nlohmann::ordered_json likelihood_figures(Denoiser& prior, std::int64_t known_cells, const NamedGrids& grids,
                                          const LikelihoodOptions& options, HtmlReport& report,
                                          torch::Tensor* nats = nullptr, const std::vector<Condition>& conditions = {},
                                          const std::vector<Condition>& none = {});

/// Estimates the bound of all grids.
using EstimateBound = std::function<BoundEstimate(const LikelihoodProgress& progress)>;

/// The same of a prior that sees the time: its process's bound, with each image's own condition and, where
/// `unconditioned` is given, without it on the same draws: what the condition tells.
nlohmann::ordered_json process_likelihood_figures(std::int64_t total_steps, const EstimateBound& own,
                                                  const EstimateBound& unconditioned, const NamedGrids& grids,
                                                  const LikelihoodOptions& options, HtmlReport& report,
                                                  torch::Tensor* nats = nullptr);

struct ReconstructionOptions {
  std::int64_t batch = 16;
  std::int64_t pixel_bits = 0;  // n: also the pixel likelihood on n-bit images (a codec with a Gaussian head); 0: not
  PixelForm pixel_form = PixelForm::density;
  double confidence = 0.95;
  std::int64_t shown = 32;  // pairs in the report's picture
};

/// What the codec did to some images of a data set.
struct Reconstructions {
  torch::Tensor images;      // [N, 3, H, W] uint8
  torch::Tensor tokens;      // [N, h, w] int64
  torch::Tensor pixel_nats;  // [N] float64; undefined without pixel_bits
};

/// L1, PSNR, SSIM, MS-SSIM, LPIPS (where given), an image each; codebook use, perplexity, dead codes.
Reconstructions reconstruction_figures(Codec codec, const Dataset& data, const std::vector<std::int64_t>& indices,
                                       Lpips* lpips, const ReconstructionOptions& options, HtmlReport& report,
                                       nlohmann::ordered_json& figures);

struct CaptionOptions {
  std::int64_t count = 0;  // captions, of different pictures and different from each other; at least 2
  std::int64_t each = 1;   // pictures made from each
  double confidence = 0.95;
  std::int64_t shown = 32;                                       // captions in the report's picture
  std::string concept_field = "concept", style_field = "style";  // of the data's metadata: nearest_concept.h
  std::string where;                    // field=value or field!=value: whose captions are taken; empty: any
  std::vector<std::string> attributes;  // fields of the metadata that are read back: attribute_probe.h
  std::int64_t probe_pictures = 4000;   // that the probes learn from
  std::filesystem::path cache_folder;   // of features; empty: none
};

/// Pictures of a caption, [each, 3, H, W] uint8. number: of the caption in this evaluation, from 0, for the draws.
using MakePictures = std::function<torch::Tensor(const std::string& caption, std::int64_t number)>;

/// Makes pictures from the captions of `count` pictures of the data set and asks which real picture each is nearest to
/// (caption_retrieval.h); where the data name concepts, also which concept each picture is nearest to
/// (nearest_concept.h), both beside noise and copies of the nearest other picture; of the attributes asked for, how
/// often each is read back from what was made, beside the captions' real pictures (attribute_probe.h; the probes learn
/// from training pictures that `where` does not name). Throws Error where there are no captions, or too few different
/// ones.
nlohmann::ordered_json caption_figures(const Dataset& data, const std::vector<std::int64_t>& indices,
                                       const CaptionOptions& options, FeatureNetwork& network, const MakePictures& make,
                                       HtmlReport& report);

/// Captions of pictures [n, 3, H, W] uint8, of which the first has the number `first` in this evaluation.
using SayCaptions = std::function<std::vector<std::string>(const torch::Tensor& pictures, std::int64_t first)>;

/// Captions of the pictures that have one, beside their own: precision, recall and F1 of phrases and of the attributes
/// asked for (caption_naming.h), and the same of the nearest training picture's caption. Throws Error where there are
/// no captions.
nlohmann::ordered_json captioning_figures(const Dataset& data, const std::vector<std::int64_t>& indices,
                                          const CaptionOptions& options, FeatureNetwork& network,
                                          const SayCaptions& say, HtmlReport& report);

/// Nearest pictures of the data set to the first `shown` samples, by LPIPS where given, else by features; a figure.
nlohmann::ordered_json neighbour_figures(const torch::Tensor& samples, const Dataset& data,
                                         const std::vector<std::int64_t>& indices, FeatureNetwork& network,
                                         const Lpips* lpips, std::int64_t shown, std::int64_t k,
                                         const std::filesystem::path& cache_folder, HtmlReport& report);

}  // namespace tessera
