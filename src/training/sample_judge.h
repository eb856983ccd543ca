/// Judges a prior in training by the pictures it makes, not by its bound alone: on few pictures the bound of held-out
/// grids may rise while samples still get better (arXiv:2511.03276), and fall while they repeat the training set.
#pragma once

#include <functional>

#include "codec/codec.h"
#include "features/backbone.h"
#include "training/prior_recipe.h"
#include "training/sample_review.h"

namespace tessera {

/// What is found of some samples.
struct SampleFigures {
  double distance = 0;        // squared MMD (metrics/kid.h) of the judge's features, samples against training pictures
  double standard_error = 0;  // of it, over the samples
  /// Part of the samples that lie nearer to a training grid (codec latents, codec/nearest_grids.h) than half the
  /// distance at which half of the held-out grids lie; below 0: nothing was held out.
  double copied = -1;

  /// A later state is kept unless it is worse by more than the error; one whose samples repeat the training set goes
  /// behind every one whose samples do not.
  Judgement judgement() const;
};

class SampleJudge {
 public:
  /// Pictures are the codec's of tokens on both sides, so that its blur counts on neither.
  SampleJudge(Codec codec, const TokenData& data, Backbone features);
  /// In: grids [n, h, w] without MASK, n >= 2.
  SampleFigures look_at(const torch::Tensor& grids);

 private:
  torch::Tensor features_of(const torch::Tensor& grids);

  Codec codec_;
  TokenData data_;
  Backbone features_;
  torch::Tensor reference_;  // [m, D], of training grids; made at the first call
  double nearness_ = -1;     // below it a sample repeats a training grid
};

/// With the network that judges evaluations by default (MobileNetV2, inside the program); nothing where there are too
/// few grids to compare with.
GridJudge make_sample_judge(Codec codec, const TokenData& data);

/// The preview (training/sample_preview.h) and, where recipe.keep asks for it, the judge.
SampleReview make_sample_review(const PriorRecipe& recipe, const Codec& codec, const TokenData& data);

}  // namespace tessera
