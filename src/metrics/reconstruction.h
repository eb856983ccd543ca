/// How near a reconstruction comes to its original: L1, PSNR, SSIM, MS-SSIM, one value an image.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

namespace tessera {

/// Mean absolute difference in shares of the range 0..255. In: bytes [N, 3, H, W] twice. Out: [N] float64.
torch::Tensor l1_distance(const torch::Tensor& a, const torch::Tensor& b);

/// 10 log10(255^2 / mean squared difference), dB; equal images give 100 (a mean squared difference of 1e-10 of the
/// range's square). In: bytes [N, 3, H, W] twice. Out: [N] float64.
torch::Tensor psnr(const torch::Tensor& a, const torch::Tensor& b);

/// Structural similarity: Gaussian window of 11x11, deviation 1.5, positions where it fits whole; K1 = 0.01, K2 = 0.03,
/// range 255; mean over positions and over the three channels of RGB. Wang et al., "Image quality assessment: from
/// error visibility to structural similarity", IEEE TIP 2004, equation 13 (there on luminance). In: bytes [N, 3, H, W]
/// twice, sides of at least 11. Out: [N] float64.
torch::Tensor ssim(const torch::Tensor& a, const torch::Tensor& b);

/// Scales that MS-SSIM takes on images of this smaller side: five from 176 pixels on, fewer below (a scale needs 11
/// pixels), 0 where not even one fits.
std::int64_t ms_ssim_scales(std::int64_t smaller_side);

/// Multi-scale SSIM: 2x2 means between scales, exponents 0.0448, 0.2856, 0.3001, 0.2363, 0.1333 of the first `scales`,
/// normalised to sum 1; negative contrast terms count as 0. Wang et al., "Multiscale structural similarity", Asilomar
/// 2003, equation 7. With fewer than five scales it is another number than the published one: name them.
torch::Tensor ms_ssim(const torch::Tensor& a, const torch::Tensor& b, std::int64_t scales);

}  // namespace tessera
