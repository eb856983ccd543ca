/// Grids as other programs hold them: 32-bit codes row by row, -1 where MASK.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <span>
#include <vector>

namespace tessera {

/// In: h * w codes, -1 where MASK. Out: [h, w] int64, mask_token where MASK.
torch::Tensor to_codes(std::span<const std::int32_t> tokens, std::int64_t h, std::int64_t w, std::int64_t mask_token);
/// And back, of a tensor of any shape and device.
std::vector<std::int32_t> from_codes(const torch::Tensor& codes, std::int64_t mask_token);

}  // namespace tessera
