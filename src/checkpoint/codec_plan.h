/// What the codec importers share: the geometry of a VQGAN as they find it, its native config, and the walk over native
/// names.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "checkpoint/tensor_mapping.h"

namespace tessera {

/// The geometry of an encoder and decoder.
struct CodecPlan {
  std::int64_t in_channels = 3;
  std::int64_t out_channels = 3;
  std::int64_t latent = 0;           // channels between encoder and quantiser
  std::int64_t embedding = 0;        // D
  std::int64_t codes = 0;            // K
  std::int64_t image_size = 0;       // pixels
  std::int64_t base = 0;             // width of the first convolution
  std::vector<std::int64_t> widths;  // one a level, finest first
  std::int64_t blocks = 0;           // residual blocks a level, encoder
  std::int64_t decoder_blocks = 0;   // the same, decoder
  std::vector<bool> down_attention;  // one a level, finest first
  std::vector<bool> up_attention;    // one a level, coarsest first
  bool quant_convolutions = true;
  bool final_activation = true;
  bool logsigma_head = false;
  std::string quantizer = "nearest";
  std::string pixel_range = "symmetric";
  bool cut_bytes = false;
  bool unit_length = false;  // latents and codes are compared at length 1
};

/// vqvae/config.json of a plan.
nlohmann::json codec_config(const CodecPlan& plan);

/// The kind of layer that a native name belongs to.
enum class CodecLayer { residual, attention, resample, middle_residual, middle_attention, other };

/// A native name of encoder or decoder taken apart.
struct CodecName {
  CodecLayer layer = CodecLayer::other;
  bool decoder = false;
  std::int64_t level = 0;  // as in the name: down_blocks count from the finest, up_blocks from the coarsest
  std::int64_t block = 0;
  std::string rest;  // after the layer: "conv1.weight", "to_out.0.bias"; other: the whole name
};
CodecName parse_codec_name(const std::string& native);

/// The inner name of an attention layer in the originals (norm, q, k, v, proj_out) and its shape there: linear weights
/// [C, C] are 1x1 convolutions [C, C, 1, 1].
TensorSource original_attention(const std::string& prefix, const std::string& rest, const Shape& shape);
/// The inner name of a residual block, whose shortcut is called `shortcut`.
TensorSource original_residual(const std::string& prefix, const std::string& rest, const Shape& shape,
                               const std::string& shortcut);

/// Whether all `blocks` of a level have attention (true) or none (false); an Error when only some have.
bool level_attention(std::int64_t attentions, std::int64_t blocks, const std::string& level, const std::string& where);

}  // namespace tessera
