/// Which token grids of a set look most like given ones: shows whether a model repeats what it was trained on.
#pragma once

#include <torch/torch.h>

#include <cstdint>

namespace tessera {

/// For each of M grids the k nearest of a set.
struct NearestGrids {
  torch::Tensor rows;       // [M, k] int64, into the set, nearest first; on ties the lower row
  torch::Tensor distances;  // [M, k] float32, see nearest_grids
};

/// For people and files: what the distance below is.
inline constexpr const char* kGridDistance =
    "codec latents: root mean square distance of the codebook rows, cell by cell, over that of two random rows; 0 is "
    "the same grid";

/// Distance in the codec's latent space: at each cell the Euclidean distance between the two codebook rows, root mean
/// square over the cells, divided by the root mean square distance between two rows of the codebook drawn at random
/// (0: the same grid; 1: as far apart as random grids). Costs one table look-up a cell, no network.
/// In: queries [M, h, w], set [n, h, w], both whole numbers in [0, K); codebook [K, D]; k >= 1.
/// Out: min(k, n) neighbours a grid. Throws Error on an empty set, another shape or a token that is no code.
NearestGrids nearest_grids(const torch::Tensor& queries, const torch::Tensor& set, const torch::Tensor& codebook,
                           std::int64_t k);

/// Part of the cells that hold the same code. In: [..., h, w] twice, of one shape. Out: [...] float32 in [0, 1].
torch::Tensor equal_cells(const torch::Tensor& a, const torch::Tensor& b);

}  // namespace tessera
