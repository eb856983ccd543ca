/// Attention in which a cell of a grid sees some of the others, so that its cost grows with the cells and not with
/// their square. Two patterns that take turns in the layers of a network, after which every cell has seen every other:
/// `local`, blocks of cells that see the block and what surrounds it (Parmar et al., "Image Transformer",
/// arXiv:1802.05751, section 3.3, 2D local attention), and `strided`, cells in the same place of every block, which see
/// each other (Child et al., "Sparse Transformers", arXiv:1904.10509, section 4.2, for rows and columns at once).
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <optional>

#include "kernels/ops/layers.h"

namespace tessera {

enum class SparsePattern { local, strided };

/// Which cells see which: groups of `queries` that see the same `keys`.
class SparseAttention {
 public:
  /// block: cells a side; where a side of the grid is no multiple of it, the largest divisor below it is taken. A local
  /// block sees half of its side around it in each direction; at the edge of the grid as much, moved inwards.
  SparseAttention(std::int64_t height, std::int64_t width, std::int64_t block, SparsePattern pattern);

  /// In: q, k and v side by side, [N, L, 3 C]. Out: [N, L, C]. dropout: as attend() has it.
  torch::Tensor operator()(const torch::Tensor& qkv, std::int64_t heads, double scale, Precision precision,
                           double dropout = 0, const std::optional<torch::Generator>& generator = std::nullopt) const;

  std::int64_t groups() const { return groups_; }
  /// [groups, queries] and [groups, keys] int64, cells of the grid.
  torch::Tensor queries() const { return queries_.view({groups_, -1}); }
  torch::Tensor keys() const { return keys_.view({groups_, -1}); }

 private:
  std::int64_t groups_ = 0;
  torch::Tensor queries_, keys_, back_;  // flat; back_: where each cell is among the queries
};

}  // namespace tessera
