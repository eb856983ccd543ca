/// Whether pictures made from captions show what the captions say: each real picture should lie nearer to what was made
/// from its own caption than to what was made from the others'. The retrieval form of "R-precision" (Xu et al.,
/// "AttnGAN", arXiv:1711.10485, section 4.1), between pictures, so that no network that knows text is needed.
#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "metrics/confidence.h"

namespace tessera {

struct CaptionRetrieval {
  torch::Tensor ranks;    // [N] float64: the own caption's place among all by distance, 1 nearest; a tie counts half
  torch::Tensor nearest;  // [N] int64: the caption whose pictures lie nearest
  Interval top1;          // share of pictures whose own caption is strictly nearest (Wilson's interval)
  Interval mean_rank;
  double chance_top1 = 0;       // 1 / N
  double chance_mean_rank = 0;  // (N + 1) / 2
  double chance_of_top1 = 0;    // probability of so large a top-1 share, or a larger one, by guessing
};

/// In: real [N, D] features of the captions' own pictures; made [N, G, D] features of G pictures made from each. The
/// distance to a caption is the mean Euclidean distance to its G pictures. Throws Error on fewer than 2 captions,
/// unlike shapes or NaN.
CaptionRetrieval caption_retrieval(const torch::Tensor& real, const torch::Tensor& made, double confidence = 0.95);

}  // namespace tessera
