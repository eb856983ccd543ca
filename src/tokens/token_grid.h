/// A batch of token grids and masks over their cells. A token in [0, K) is a code; K is MASK.
#pragma once

#include <torch/torch.h>

#include <cstdint>

namespace tessera {

/// Height and width of a grid, in cells.
struct Extent {
  std::int64_t h = 0;
  std::int64_t w = 0;
  std::int64_t cells() const { return h * w; }
  bool operator==(const Extent&) const = default;
};

/// Which cells of a batch of grids are meant.
struct CellMask {
  torch::Tensor cells;  // [N, h, w] bool
};

/// A batch of grids of codes, some cells possibly MASK.
class TokenGrid {
 public:
  /// In: codes [N, h, w] int64 with values in [0, codebook_size]. Throws Error on another shape, type or value.
  TokenGrid(torch::Tensor codes, std::int64_t codebook_size);
  /// Every cell MASK.
  static TokenGrid all_masked(std::int64_t count, Extent extent, std::int64_t codebook_size);

  const torch::Tensor& codes() const { return codes_; }     // [N, h, w] int64
  torch::Tensor flat() const { return codes_.flatten(1); }  // [N, L] int64, row-major over (h, w)
  std::int64_t count() const { return codes_.size(0); }
  Extent extent() const { return {codes_.size(1), codes_.size(2)}; }
  std::int64_t codebook_size() const { return codebook_size_; }  // K
  std::int64_t mask_token() const { return codebook_size_; }
  CellMask masked() const { return {codes_ == codebook_size_}; }
  std::int64_t masked_cells() const;

 private:
  torch::Tensor codes_;
  std::int64_t codebook_size_;
};

}  // namespace tessera
