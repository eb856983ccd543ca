/// The pictures of a set that lie nearest to each sample: does a model remember its training pictures? Bond-Taylor et
/// al., arXiv:2111.12701, appendix C (there by LPIPS).
#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "codec/perceptual.h"
#include "image/image.h"
#include "metrics/image_stream.h"

namespace tessera {

/// k nearest of each query, nearest first.
struct Neighbours {
  torch::Tensor index;     // [n, k] int64, into the searched set
  torch::Tensor distance;  // [n, k] float64: Euclidean between features, or LPIPS
};

/// By Euclidean distance between features. In: queries [n, D], base [N, D], N >= k. Candidates come from float32
/// products of blocks, their order from float64.
Neighbours nearest_features(const torch::Tensor& queries, const torch::Tensor& base, std::int64_t k,
                            std::int64_t block_rows = 2048);

/// By LPIPS. In: queries [n, 3, H, W] uint8; base pictures of the same size. The base is read once, a batch at a time;
/// its points are not kept, so that memory is that of the queries' points and one batch's.
Neighbours nearest_lpips(const torch::Tensor& queries, const ImageStream& base, const Lpips& lpips, std::int64_t k,
                         std::int64_t batch = 8);

/// A row for each query: it, then its neighbours. In: queries [n, 3, H, W] uint8, base [N, 3, H, W] uint8.
Image neighbours_sheet(const torch::Tensor& queries, const torch::Tensor& base, const Neighbours& neighbours);

}  // namespace tessera
