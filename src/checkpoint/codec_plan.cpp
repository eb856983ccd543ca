#include "checkpoint/codec_plan.h"

#include <charconv>

#include "runtime/error.h"

namespace tessera {

nlohmann::json codec_config(const CodecPlan& plan) {
  auto down = nlohmann::json::array();
  auto up = nlohmann::json::array();
  for (const bool attends : plan.down_attention)
    down.push_back(attends ? "AttnDownEncoderBlock2D" : "DownEncoderBlock2D");
  for (const bool attends : plan.up_attention) up.push_back(attends ? "AttnUpDecoderBlock2D" : "UpDecoderBlock2D");
  return {{"_class_name", "VQModel"},
          {"act_fn", "silu"},
          {"in_channels", plan.in_channels},
          {"out_channels", plan.out_channels},
          {"latent_channels", plan.latent},
          {"vq_embed_dim", plan.embedding},
          {"num_vq_embeddings", plan.codes},
          {"norm_num_groups", 32},
          {"sample_size", plan.image_size},
          {"block_out_channels", plan.widths},
          {"layers_per_block", plan.blocks},
          {"down_block_types", down},
          {"up_block_types", up},
          {"tessera",
           {{"format", 1},
            {"base_channels", plan.base},
            {"decoder_layers_per_block", plan.decoder_blocks},
            {"quant_convolutions", plan.quant_convolutions},
            {"final_activation", plan.final_activation},
            {"quantizer", plan.quantizer},
            {"pixel_range", plan.pixel_range},
            {"cut_bytes", plan.cut_bytes},
            {"unit_length", plan.unit_length},
            {"logsigma_head", plan.logsigma_head},
            {"beta", 0.25},
            {"beta_on", "codebook"}}}};
}

CodecName parse_codec_name(const std::string& native) {
  CodecName name;
  name.rest = native;
  name.decoder = native.starts_with("decoder.");
  if (!name.decoder && !native.starts_with("encoder.")) return name;
  std::string_view rest = native;
  rest.remove_prefix(8);
  const auto next = [&] {
    const auto part = rest.substr(0, rest.find('.'));
    rest.remove_prefix(std::min(rest.size(), part.size() + 1));
    return part;
  };
  const auto number = [&] {
    const auto part = next();
    std::int64_t value = 0;
    std::from_chars(part.data(), part.data() + part.size(), value);
    return value;
  };
  const auto place = next();
  const bool middle = place == "mid_block";
  if (!middle && place != "down_blocks" && place != "up_blocks") return name;
  if (!middle) name.level = number();
  const auto kind = next();
  name.block = number();
  if (kind == "resnets") {
    name.layer = middle ? CodecLayer::middle_residual : CodecLayer::residual;
  } else if (kind == "attentions") {
    name.layer = middle ? CodecLayer::middle_attention : CodecLayer::attention;
  } else {
    name.layer = CodecLayer::resample;  // downsamplers.0, upsamplers.0
  }
  name.rest = rest;
  return name;
}

TensorSource original_attention(const std::string& prefix, const std::string& rest, const Shape& shape) {
  static const std::map<std::string, std::string> names = {
      {"group_norm", "norm"}, {"to_q", "q"}, {"to_k", "k"}, {"to_v", "v"}, {"to_out.0", "proj_out"}};
  const auto field = rest.rfind('.');
  auto original = shape;
  if (shape.size() == 2) original.insert(original.end(), {1, 1});
  return {{prefix + names.at(rest.substr(0, field)) + rest.substr(field)}, original};
}

TensorSource original_residual(const std::string& prefix, const std::string& rest, const Shape& shape,
                               const std::string& shortcut) {
  constexpr std::string_view kShortcut = "conv_shortcut";
  if (rest.starts_with(kShortcut)) return {{prefix + shortcut + rest.substr(kShortcut.size())}, shape};
  return {{prefix + rest}, shape};
}

bool level_attention(std::int64_t attentions, std::int64_t blocks, const std::string& level, const std::string& where) {
  require(attentions == 0 || attentions == blocks,
          "{}: {} has {} attention layers for {} residual blocks, expected none or one each", where, level, attentions,
          blocks);
  return attentions > 0;
}

}  // namespace tessera
