#include "tokens/token_grid.h"

#include "runtime/error.h"

namespace tessera {

TokenGrid::TokenGrid(torch::Tensor codes, std::int64_t codebook_size)
    : codes_(std::move(codes)), codebook_size_(codebook_size) {
  require(codes_.dim() == 3 && codes_.scalar_type() == torch::kInt64,
          "token grid: expected [N, h, w] int64, got {} dimensions of type {}", codes_.dim(),
          c10::toString(codes_.scalar_type()));
  if (codes_.numel() == 0) return;
  const auto lowest = codes_.min().item<std::int64_t>();
  const auto highest = codes_.max().item<std::int64_t>();
  require(lowest >= 0 && highest <= codebook_size_, "token grid: tokens {} to {}, expected 0 to {} (MASK)", lowest,
          highest, codebook_size_);
}

TokenGrid TokenGrid::all_masked(std::int64_t count, Extent extent, std::int64_t codebook_size) {
  return {torch::full({count, extent.h, extent.w}, codebook_size, torch::kInt64), codebook_size};
}

std::int64_t TokenGrid::masked_cells() const {
  return (codes_ == codebook_size_).sum().item<std::int64_t>();
}

}  // namespace tessera
