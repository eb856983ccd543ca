#include "codec/codec_options.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/error.h"

namespace tessera {
namespace {

constexpr std::int64_t kMaxWidth = 1 << 16;

template <typename T>
T field(const nlohmann::json& object, const char* name, T fallback) {
  const auto found = object.find(name);
  if (found == object.end() || found->is_null()) return fallback;
  try {
    return found->get<T>();
  } catch (const nlohmann::json::exception&) {
    fail("codec config: field '{}' holds {}, which is of another type than expected", name, found->dump());
  }
}

}  // namespace

bool CodecOptions::attention_at(std::int64_t level) const {
  return std::find(attention_resolutions.begin(), attention_resolutions.end(), resolution_at(level)) !=
         attention_resolutions.end();
}

void CodecOptions::validate() const {
  require(levels() >= 1 && levels() <= 8, "codec: {} levels, expected 1 to 8", levels());
  require(image_channels >= 1 && image_channels <= 64, "codec: {} image channels, expected 1 to 64", image_channels);
  require(patch_size == 1 || patch_size == 2 || patch_size == 4 || patch_size == 8,
          "codec: patch size {}, expected one of 1, 2, 4, 8", patch_size);
  require(norm_groups >= 1 && norm_groups <= kMaxWidth, "codec: {} norm groups, expected 1 to {}", norm_groups,
          kMaxWidth);
  require(base_channels > 0 && base_channels % norm_groups == 0 && base_channels <= kMaxWidth,
          "codec: {} base channels, expected a multiple of {} (GroupNorm has {} groups)", base_channels, norm_groups,
          norm_groups);
  for (const auto multiplier : channel_multipliers) {
    require(multiplier >= 1 && multiplier <= 64, "codec: channel multiplier {}, expected 1 to 64", multiplier);
  }
  require(image_size >= factor() && image_size <= kMaxWidth && image_size % factor() == 0,
          "codec: image size {}, expected a multiple of {} (patch size times 2 to the number of levels less one)",
          image_size, factor());
  require(residual_blocks >= 1 && residual_blocks <= 64, "codec: {} residual blocks, expected 1 to 64",
          residual_blocks);
  require(decoder_residual_blocks >= 1 && decoder_residual_blocks <= 65,
          "codec: {} decoder residual blocks, expected 1 to 65", decoder_residual_blocks);
  require(embedding_width >= 1 && embedding_width <= kMaxWidth, "codec: embedding width {}, expected 1 to {}",
          embedding_width, kMaxWidth);
  require(encoder_channels() <= kMaxWidth, "codec: {} latent channels, expected at most {}", encoder_channels(),
          kMaxWidth);
  require(quant_convolutions || encoder_channels() == embedding_width,
          "codec: {} latent channels and embedding width {} differ, which needs quant_convolutions", encoder_channels(),
          embedding_width);
  require(codebook_size >= 2 && codebook_size <= (1 << 20), "codec: codebook size {}, expected 2 to {}", codebook_size,
          1 << 20);
  require(!unit_length || quantizer == QuantizerKind::nearest, "codec: unit_length with quantizer {}, expected nearest",
          to_string(quantizer));
  require(beta >= 0 && beta <= 100, "codec: beta {}, expected 0 to 100", beta);
}

nlohmann::json to_json(const CodecOptions& o) {
  nlohmann::json widths = nlohmann::json::array(), down = nlohmann::json::array(), up = nlohmann::json::array();
  for (std::int64_t level = 0; level < o.levels(); ++level) {
    widths.push_back(o.channels_at(level));
    down.push_back(o.attention_at(level) ? "AttnDownEncoderBlock2D" : "DownEncoderBlock2D");
    up.insert(up.begin(), o.attention_at(level) ? "AttnUpDecoderBlock2D" : "UpDecoderBlock2D");
  }
  nlohmann::json config = {{"_class_name", "VQModel"},
                           {"act_fn", "silu"},
                           {"mid_block_add_attention", o.middle_attention},
                           {"in_channels", o.patch_channels()},
                           {"out_channels", o.patch_channels()},
                           {"latent_channels", o.encoder_channels()},
                           {"vq_embed_dim", o.embedding_width},
                           {"num_vq_embeddings", o.codebook_size},
                           {"norm_num_groups", o.norm_groups},
                           {"sample_size", o.image_size},
                           {"block_out_channels", widths},
                           {"layers_per_block", o.residual_blocks},
                           {"down_block_types", down},
                           {"up_block_types", up},
                           {"tessera",
                            {{"format", 1},
                             {"base_channels", o.base_channels},
                             {"decoder_layers_per_block", o.decoder_residual_blocks},
                             {"quant_convolutions", o.quant_convolutions},
                             {"final_activation", o.final_activation},
                             {"quantizer", to_string(o.quantizer)},
                             {"pixel_range", to_string(o.pixel_range)},
                             {"cut_bytes", o.cut_bytes},
                             {"unit_length", o.unit_length},
                             {"logsigma_head", o.logsigma_head},
                             {"beta", o.beta},
                             {"beta_on", to_string(o.beta_term)}}}};
  if (o.patch_size > 1) config["tessera"]["patch_size"] = o.patch_size;
  return config;
}

CodecOptions codec_options_from_json(const nlohmann::json& config) {
  require(config.is_object(), "codec config: expected a JSON object");
  const auto own = config.value("tessera", nlohmann::json::object());
  require(own.is_object(), "codec config: field 'tessera' holds {}, expected an object", own.dump());
  require(field(own, "format", 1) == 1, "codec config: format {}, expected 1", field(own, "format", 1));
  CodecOptions o;
  o.patch_size = field<std::int64_t>(own, "patch_size", 1);
  require(o.patch_size >= 1 && o.patch_size <= 8, "codec config: patch_size {}, expected one of 1, 2, 4, 8",
          o.patch_size);
  const auto in_channels = field<std::int64_t>(config, "in_channels", 3), patch = o.patch_size * o.patch_size;
  require(field<std::int64_t>(config, "out_channels", in_channels) == in_channels,
          "codec config: out_channels differs from in_channels");
  require(in_channels % patch == 0, "codec config: in_channels {}, expected a multiple of {} (patch_size {})",
          in_channels, patch, o.patch_size);
  o.image_channels = in_channels / patch;
  o.norm_groups = field<std::int64_t>(config, "norm_num_groups", 32);
  const auto act = field<std::string>(config, "act_fn", "silu");
  require(act == "silu" || act == "swish", "codec config: act_fn '{}', expected silu", act);
  o.image_size = field<std::int64_t>(config, "sample_size", 32);
  const auto widths = field<std::vector<std::int64_t>>(config, "block_out_channels", {64});
  require(!widths.empty() && widths.size() <= 8, "codec config: {} entries in block_out_channels, expected 1 to 8",
          widths.size());
  o.base_channels = field<std::int64_t>(own, "base_channels", widths.front());
  require(o.base_channels > 0, "codec config: base_channels {}, expected a positive number", o.base_channels);
  o.channel_multipliers.clear();
  for (const auto width : widths) {
    require(width > 0 && width % o.base_channels == 0, "codec config: block_out_channels {} is no multiple of {}",
            width, o.base_channels);
    o.channel_multipliers.push_back(width / o.base_channels);
  }
  o.residual_blocks = field<std::int64_t>(config, "layers_per_block", 1);
  o.decoder_residual_blocks = field<std::int64_t>(own, "decoder_layers_per_block", o.residual_blocks + 1);
  o.embedding_width = field<std::int64_t>(config, "vq_embed_dim", field<std::int64_t>(config, "latent_channels", 3));
  o.latent_channels = field<std::int64_t>(config, "latent_channels", o.embedding_width);
  o.codebook_size = field<std::int64_t>(config, "num_vq_embeddings", 256);
  const auto types = field<std::vector<std::string>>(config, "down_block_types", {});
  require(types.empty() || types.size() == widths.size(), "codec config: {} down_block_types for {} levels",
          types.size(), widths.size());
  o.attention_resolutions.clear();
  for (std::size_t level = 0; level < types.size(); ++level) {
    if (types[level] == "AttnDownEncoderBlock2D") {
      o.attention_resolutions.push_back(o.resolution_at(static_cast<std::int64_t>(level)));
    } else {
      require(types[level] == "DownEncoderBlock2D",
              "codec config: down_block_types '{}': expected one of DownEncoderBlock2D, AttnDownEncoderBlock2D",
              types[level]);
    }
  }
  o.middle_attention = field(config, "mid_block_add_attention", true);
  o.quant_convolutions = field(own, "quant_convolutions", true);
  o.final_activation = field(own, "final_activation", true);
  o.quantizer = quantizer_kind(field<std::string>(own, "quantizer", "nearest"));
  // Of the hub's models only aMUSEd's have codes looked up by their index; its pictures are 0..1.
  const bool of_amused = field(config, "lookup_from_codebook", false);
  o.pixel_range = pixel_range(field<std::string>(own, "pixel_range", of_amused ? "unit" : "symmetric"));
  o.cut_bytes = field(own, "cut_bytes", false);
  o.unit_length = field(own, "unit_length", false);
  o.logsigma_head = field(own, "logsigma_head", false);
  o.beta = field(own, "beta", 0.25);
  o.beta_term = beta_term(field<std::string>(own, "beta_on", "codebook"));
  o.validate();
  return o;
}

std::string to_string(QuantizerKind kind) {
  return kind == QuantizerKind::nearest ? "nearest" : kind == QuantizerKind::gumbel ? "gumbel" : "ema";
}

QuantizerKind quantizer_kind(const std::string& name) {
  if (name == "nearest") return QuantizerKind::nearest;
  if (name == "gumbel") return QuantizerKind::gumbel;
  if (name == "ema") return QuantizerKind::ema;
  fail("quantizer '{}': expected one of nearest, gumbel, ema", name);
}

std::string to_string(BetaTerm term) {
  return term == BetaTerm::codebook ? "codebook" : "commitment";
}

BetaTerm beta_term(const std::string& name) {
  if (name == "codebook") return BetaTerm::codebook;
  if (name == "commitment") return BetaTerm::commitment;
  fail("beta_on '{}': expected one of codebook, commitment", name);
}

std::string to_string(PixelRange range) {
  return range == PixelRange::unit ? "unit" : "symmetric";
}

PixelRange pixel_range(const std::string& name) {
  if (name == "unit") return PixelRange::unit;
  if (name == "symmetric") return PixelRange::symmetric;
  fail("pixel_range '{}': expected one of unit, symmetric", name);
}

}  // namespace tessera
