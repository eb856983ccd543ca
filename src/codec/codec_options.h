/// The geometry of a codec: what its config.json says (see docs/bundle.md for the names on disk).
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "tokens/token_grid.h"

namespace tessera {

/// Range of the values that the networks see. Pictures are 0..255 outside; `unit` is 0..1 (Unleashing Transformers),
/// `symmetric` is -1..1 (Taming Transformers, the hub's VQModel).
enum class PixelRange { unit, symmetric };

/// Which term of the codebook loss beta weighs: `codebook` is what the Unleashing and Taming releases compute
/// (mean (sg(z_q) - z)^2 + beta mean (z_q - sg(z))^2); `commitment` is the VQ-VAE paper's (arXiv:1711.00937, eq. 3).
enum class BetaTerm { codebook, commitment };

enum class QuantizerKind { nearest, gumbel, ema };

struct CodecOptions {
  std::int64_t image_size = 64;  // pixels a side that attention_resolutions refer to
  std::int64_t image_channels = 3;
  std::int64_t patch_size = 1;      // pixels a side that enter and leave the convolutions as one (space to depth)
  std::int64_t base_channels = 32;  // width of the first convolution; a multiple of norm_groups
  std::int64_t norm_groups = 32;    // of every GroupNorm
  std::vector<std::int64_t> channel_multipliers = {1, 2, 4};  // one a level, finest first
  std::int64_t residual_blocks = 1;                           // a level, encoder
  std::int64_t decoder_residual_blocks = 1;  // a level, decoder (Taming and the hub have one more than the encoder)
  std::vector<std::int64_t> attention_resolutions = {16};  // attention after each residual block at these sizes
  std::int64_t latent_channels = 0;                        // encoder output channels; 0: embedding_width
  std::int64_t embedding_width = 64;                       // D
  std::int64_t codebook_size = 512;                        // K
  bool middle_attention = true;     // between the two residual blocks at the coarsest resolution, both ways
  bool quant_convolutions = false;  // 1x1 convolutions around the quantiser
  bool final_activation = true;     // swish between the last GroupNorm and the last convolution
  PixelRange pixel_range = PixelRange::unit;
  bool cut_bytes = false;  // decoded values lose their fraction (VQ-Diffusion's program) instead of being rounded
  QuantizerKind quantizer = QuantizerKind::nearest;
  bool unit_length = false;  // latents and codes are compared, and codes decoded, at length 1 (quantizer nearest)
  double beta = 0.25;
  BetaTerm beta_term = BetaTerm::codebook;
  bool logsigma_head = false;  // the probabilistic decoder's second head

  std::int64_t levels() const { return static_cast<std::int64_t>(channel_multipliers.size()); }
  /// Pixels a cell, a side.
  std::int64_t factor() const { return patch_size << (levels() - 1); }
  /// Channels of a patch, which the first convolution reads and the last one writes.
  std::int64_t patch_channels() const { return image_channels * patch_size * patch_size; }
  std::int64_t encoder_channels() const { return latent_channels > 0 ? latent_channels : embedding_width; }
  /// The grid of the nominal image size.
  Extent grid() const { return {image_size / factor(), image_size / factor()}; }
  std::int64_t channels_at(std::int64_t level) const { return base_channels * channel_multipliers.at(level); }
  /// Positions a side at a level, for the nominal image size.
  std::int64_t resolution_at(std::int64_t level) const { return image_size / patch_size >> level; }
  bool attention_at(std::int64_t level) const;
  /// Throws Error naming the field that is out of range.
  void validate() const;
};

/// The vqvae/config.json of a bundle; reads the hub's VQModel and Tessera's extensions.
nlohmann::json to_json(const CodecOptions& options);
CodecOptions codec_options_from_json(const nlohmann::json& config);

std::string to_string(QuantizerKind kind);
/// Unknown names throw and list the choices.
QuantizerKind quantizer_kind(const std::string& name);
std::string to_string(BetaTerm term);
BetaTerm beta_term(const std::string& name);
std::string to_string(PixelRange range);
PixelRange pixel_range(const std::string& name);

}  // namespace tessera
