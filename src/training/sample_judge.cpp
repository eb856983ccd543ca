#include "training/sample_judge.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "codec/nearest_grids.h"
#include "metrics/kid.h"
#include "runtime/error.h"
#include "runtime/log.h"
#include "training/pictures_at_once.h"
#include "training/sample_preview.h"

namespace tessera {
namespace {

constexpr const char* kJudge = "mobilenetv2";
constexpr std::int64_t kSamples = 32;     // a validation: some seconds on two cores
constexpr std::int64_t kReference = 256;  // training pictures that stand for the set
constexpr std::int64_t kHeldOut = 256;    // grids whose distance to the training set says what is near
constexpr std::int64_t kAtOnce = 16;
constexpr double kNear = 0.5;         // part of a held-out grid's distance below which a sample repeats a training grid
constexpr double kMostCopied = 0.25;  // part of the samples
constexpr double kBehindAll = 1e6;    // squared MMDs of features are far below

/// Rows spread evenly over [0, count).
torch::Tensor spread(std::int64_t count, std::int64_t most) {
  const auto taken = std::min(count, most);
  return (torch::arange(taken, torch::kInt64) * count).div(std::max<std::int64_t>(taken, 1), "floor");
}

}  // namespace

Judgement SampleFigures::judgement() const {
  Judgement result;
  result.score = distance + (copied > kMostCopied ? kBehindAll : 0);
  result.margin = standard_error;
  return result;
}

SampleJudge::SampleJudge(Codec codec, const TokenData& data, Backbone features)
    : codec_(std::move(codec)), data_(data), features_(std::move(features)) {
  require(data.train.size(0) >= 2, "sample judge: {} training grids, expected 2 or more", data.train.size(0));
  features_.to(codec_->device());
}

torch::Tensor SampleJudge::features_of(const torch::Tensor& grids) {
  const torch::NoGradGuard no_grad;
  const auto least = std::max(features_.description().smallest_side(), features_.description().judge_size);
  std::vector<torch::Tensor> rows;
  for (const auto& part : grids.to(torch::kInt64).split(std::min(kAtOnce, pictures_at_once(codec_)))) {
    auto pictures = codec_->decode({part, data_.codebook_size}).to(torch::kFloat32) / 255.0;
    if (pictures.size(2) < least || pictures.size(3) < least)
      pictures = at::_upsample_bilinear2d_aa(pictures, {least, least}, false);
    rows.push_back(features_.forward(pictures).features.to(torch::kCPU));
  }
  return torch::cat(rows);
}

SampleFigures SampleJudge::look_at(const torch::Tensor& grids) {
  const auto codebook = codec_->quantizer->codebook();
  if (!reference_.defined()) {
    reference_ = features_of(data_.train.index_select(0, spread(data_.train.size(0), kReference)));
    if (data_.validation.size(0) > 0) {
      const auto held_out = data_.validation.index_select(0, spread(data_.validation.size(0), kHeldOut));
      nearness_ = kNear * nearest_grids(held_out, data_.train, codebook, 1).distances.median().item<double>();
    }
  }
  SampleFigures figures;
  const auto estimate = squared_mmd_with_error(features_of(grids), reference_);
  figures.distance = estimate.value;
  figures.standard_error = estimate.standard_error;
  if (nearness_ >= 0) {
    const auto nearest = nearest_grids(grids, data_.train, codebook, 1).distances;
    figures.copied = (nearest < nearness_).to(torch::kFloat64).mean().item<double>();
  }
  return figures;
}

GridJudge make_sample_judge(Codec codec, const TokenData& data) {
  if (data.train.size(0) < 2) return {};
  const auto judge = std::make_shared<SampleJudge>(std::move(codec), data, shipped_backbone(kJudge));
  const auto look = [judge](std::int64_t step, const TokenGrid& samples, Recorder& recorder) {
    const auto figures = judge->look_at(samples.codes());
    Metrics metrics = {{"samples_distance", figures.distance},
                       {"samples_distance_standard_error", figures.standard_error}};
    if (figures.copied >= 0) metrics["samples_copied"] = figures.copied;
    recorder.scalars(step, metrics);
    log().info("prior: step {}: {} samples lie {:.4f} (se {:.4f}) from the training pictures{}", step, samples.count(),
               figures.distance, figures.standard_error,
               figures.copied < 0 ? std::string() : fmt::format(", {:.0f} % of them repeat one", 100 * figures.copied));
    return figures.judgement();
  };
  return {kSamples, look};
}

SampleReview make_sample_review(const PriorRecipe& recipe, const Codec& codec, const TokenData& data) {
  SampleReview review;
  review.preview = make_sample_preview(codec, data);
  if (recipe.keep == "distance") review.judge = make_sample_judge(codec, data);
  return review;
}

}  // namespace tessera
