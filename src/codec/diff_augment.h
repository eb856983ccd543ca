/// Differentiable augmentation of the discriminator's inputs: colour, then translation (arXiv:2006.10738).
#pragma once

#include <torch/torch.h>

#include "runtime/random.h"

namespace tessera {

/// One draw per image.
struct AugmentDraws {
  torch::Tensor brightness, saturation, contrast;  // [N] uniform in (0, 1)
  torch::Tensor shift_rows, shift_columns;         // [N] int64, in +-floor(size/8 + 0.5)
};

/// The draws of images of the given size; a function of (seed, step, batch position) alone. first_row: the first one's
/// position in the batch.
AugmentDraws draw_augmentation(std::int64_t count, std::int64_t height, std::int64_t width, Seed seed,
                               std::int64_t step, std::uint64_t stream, std::int64_t first_row = 0);

/// x + (u - 0.5).
torch::Tensor augment_brightness(const torch::Tensor& x, const torch::Tensor& u);
/// (x - m) * 2u + m, m the mean over channels of each pixel.
torch::Tensor augment_saturation(const torch::Tensor& x, const torch::Tensor& u);
/// (x - m) * (u + 0.5) + m, m the mean of each image.
torch::Tensor augment_contrast(const torch::Tensor& x, const torch::Tensor& u);
/// out[i, j] = x[i + rows, j + columns], 0 outside.
torch::Tensor augment_translation(const torch::Tensor& x, const torch::Tensor& shift_rows,
                                  const torch::Tensor& shift_columns);

/// All four, in that order. In, out: [N, C, H, W], not clamped.
torch::Tensor diff_augment(const torch::Tensor& x, const AugmentDraws& draws);

}  // namespace tessera
