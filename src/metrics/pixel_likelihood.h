/// Likelihood of pixels under a codec with a Gaussian head (the released code's `probabilistic`), and the bound on an
/// image's likelihood that it gives with a prior over the tokens. Bond-Taylor et al., arXiv:2111.12701, appendix B.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>

#include "codec/codec.h"

namespace tessera {

enum class PixelForm {
  // -log of the Gaussian's density at byte / 255, plus ln 2^n for each of the 2^n levels a pixel is counted in: the
  // released code's figure. A density is no probability of an n-bit value; the figure is for comparison with theirs.
  density,
  // -log of the Gaussian's mass in the pixel's bin of width 2^-n, the outermost bins reaching to infinity: a bound on
  // the likelihood of the n-bit image. Salimans et al., PixelCNN++, arXiv:1701.05517, section 2.1 (there logistic).
  bins,
};

/// "density" | "bins". Throws UsageError listing these.
PixelForm pixel_form_from(const std::string& name);
std::string name_of(PixelForm form);

/// -log density in nats of images given mean and log standard deviation, all [N, C, H, W] in [0, 1]:
/// 0.5 exp(2 log|x - mean| - 2 log sigma) + log sigma + 0.5 ln(2 pi), summed. Out: [N].
torch::Tensor gaussian_nll(const torch::Tensor& images, const torch::Tensor& mean, const torch::Tensor& log_sigma);

/// -log P(n-bit image) in nats. In: bytes [N, C, H, W] uint8 (their n highest bits count), mean and log sigma in [0,
/// 1], bits 1..8. Out: [N] float64.
torch::Tensor binned_nll(const torch::Tensor& bytes, const torch::Tensor& mean, const torch::Tensor& log_sigma,
                         std::int64_t bits);

/// -log p(image | its tokens) in nats, n-bit images, of a codec with logsigma_head. In: bytes [N, 3, H, W]. Out: [N]
/// float64. Throws Error where the codec has no such head.
torch::Tensor pixel_nll(CodecImpl& codec, const torch::Tensor& bytes, std::int64_t bits, PixelForm form);

/// (pixel nats + prior nats) / (values * ln 2): bits a dimension. In: [N] each; values = C * H * W.
torch::Tensor image_bits_per_dimension(const torch::Tensor& pixel_nats, const torch::Tensor& prior_nats,
                                       std::int64_t values);

}  // namespace tessera
