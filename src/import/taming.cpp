// Taming Transformers' VQModel, EMAVQ and GumbelVQ. Key names: github.com/CompVis/taming-transformers,
// taming/models/vqgan.py and taming/modules/diffusionmodules/model.py.
#include <algorithm>

#include "checkpoint/codec_plan.h"
#include "import/importers.h"
#include "runtime/error.h"

namespace tessera {
namespace {

using nlohmann::json;

constexpr std::int64_t kAssumedResolution = 256;

/// The source of a native tensor; `levels` turns the order of the decoder's levels round.
TensorSource source_of(std::int64_t levels, bool gumbel, const std::string& native, const Shape& shape) {
  if (native == "quantize.embedding.weight") return {{gumbel ? "quantize.embed.weight" : native}, shape};
  const auto name = parse_codec_name(native);
  const std::string side = name.decoder ? "decoder" : "encoder";
  const auto level = name.decoder ? fmt::format("decoder.up.{}.", levels - 1 - name.level)
                                  : fmt::format("encoder.down.{}.", name.level);
  switch (name.layer) {
    case CodecLayer::residual:
      return original_residual(fmt::format("{}block.{}.", level, name.block), name.rest, shape, "nin_shortcut");
    case CodecLayer::attention:
      return original_attention(fmt::format("{}attn.{}.", level, name.block), name.rest, shape);
    case CodecLayer::middle_residual:
      return original_residual(fmt::format("{}.mid.block_{}.", side, name.block + 1), name.rest, shape, "nin_shortcut");
    case CodecLayer::middle_attention:
      return original_attention(side + ".mid.attn_1.", name.rest, shape);
    case CodecLayer::resample:
      return {{level + (name.decoder ? "upsample." : "downsample.") + name.rest}, shape};
    case CodecLayer::other:
      break;
  }
  auto original = native;
  if (const auto at = original.find(".conv_norm_out."); at != std::string::npos) original.replace(at, 15, ".norm_out.");
  return {{original}, shape};
}

CodecPlan infer(const TensorMap& file, bool gumbel, const std::string& where) {
  CodecPlan plan;
  const auto& first = needed(file, "encoder.conv_in.weight", 4, where);
  plan.base = first.size(0);
  plan.in_channels = first.size(1);
  const auto levels = count_numbered(file, "encoder.down.");
  require(levels > 0 && count_numbered(file, "decoder.up.") == levels,
          "{}: {} levels in the encoder, {} in the decoder", where, levels, count_numbered(file, "decoder.up."));
  plan.blocks = count_numbered(file, "encoder.down.0.block.");
  plan.decoder_blocks = count_numbered(file, "decoder.up.0.block.");
  require(plan.blocks > 0 && plan.decoder_blocks > 0, "{}: a level without residual blocks", where);
  for (std::int64_t level = 0; level < levels; ++level) {
    const auto down = fmt::format("encoder.down.{}.", level);
    const auto up = fmt::format("decoder.up.{}.", levels - 1 - level);
    plan.widths.push_back(
        needed(file, fmt::format("{}block.{}.conv1.weight", down, plan.blocks - 1), 4, where).size(0));
    plan.down_attention.push_back(level_attention(count_numbered(file, down + "attn."), plan.blocks, down, where));
    plan.up_attention.push_back(level_attention(count_numbered(file, up + "attn."), plan.decoder_blocks, up, where));
  }
  plan.latent = needed(file, "encoder.conv_out.weight", 4, where).size(0);
  plan.out_channels = needed(file, "decoder.conv_out.weight", 4, where).size(0);
  const auto& codebook = needed(file, gumbel ? "quantize.embed.weight" : "quantize.embedding.weight", 2, where);
  plan.codes = codebook.size(0);
  plan.embedding = codebook.size(1);
  if (gumbel) plan.quantizer = "gumbel";
  if (file.contains("quantize.embedding.cluster_size")) plan.quantizer = "ema";
  return plan;
}

/// Compares what the yaml says with what the tensors are; one Error names all differences.
/// codes: of the whole codebook, used or not.
void check(const json& parameters, const CodecPlan& plan, std::int64_t codes, std::int64_t resolution,
           const std::string& where) {
  const auto& network = parameters["ddconfig"];
  std::string differences;
  const auto compare = [&](const json& holder, const char* field, const json& found) {
    if (!holder.contains(field) || holder[field] == found) return;
    differences += fmt::format("; {} is {} in the yaml and {} in the tensors", field,
                               holder[field].dump(-1, ' ', false, json::error_handler_t::replace), found.dump());
  };
  compare(parameters, "embed_dim", plan.embedding);
  compare(parameters, "n_embed", codes);
  compare(network, "z_channels", plan.latent);
  compare(network, "in_channels", plan.in_channels);
  compare(network, "out_ch", plan.out_channels);
  compare(network, "ch", plan.base);
  compare(network, "num_res_blocks", plan.blocks);
  if (const auto multipliers = network.find("ch_mult"); multipliers != network.end() && multipliers->is_array()) {
    auto widths = json::array();
    for (const auto width : plan.widths) {
      if (width % plan.base == 0) widths.push_back(width / plan.base);
    }
    compare(network, "ch_mult", widths);
  }
  if (const auto listed = network.find("attn_resolutions"); listed != network.end() && listed->is_array()) {
    for (std::size_t level = 0; level < plan.widths.size() && level < 60; ++level) {
      const auto own = resolution >> level;
      const bool says = std::find(listed->begin(), listed->end(), json(own)) != listed->end();
      if (says != plan.down_attention[level])
        differences +=
            fmt::format("; attention at resolution {} {} in the tensors", own, says ? "is missing" : "is there");
    }
  }
  require(differences.empty(), "{}: the config does not fit the tensors{}", where, differences);
}

/// `quantize.used` lists the codes that pictures have, and tokens are positions in that list: these codes alone are the
/// codebook.
TensorMap with_used_codes(const TensorMap& file, std::vector<std::string>& assumptions, const std::string& where) {
  if (!file.contains("quantize.used")) return file;
  auto result = file;
  const auto used = needed(file, "quantize.used", 1, where).to(torch::kInt64);
  const auto& all = needed(file, "quantize.embedding.weight", 2, where);
  require(used.min().item<std::int64_t>() >= 0 && used.max().item<std::int64_t>() < all.size(0),
          "{}: quantize.used names code {}, expected 0 to {}", where, used.max().item<std::int64_t>(), all.size(0) - 1);
  result["quantize.embedding.weight"] = all.index_select(0, used);
  result.erase("quantize.used");
  assumptions.push_back(
      fmt::format("the {} codes in use of {}, by their places in that list", used.size(0), all.size(0)));
  return result;
}

bool is_unneeded(const std::string& name) {
  // The losses, latent diffusion's running mean of the weights, the label colours, and what only the training of an EMA
  // codebook needs.
  return name.starts_with("loss.") || name.starts_with("model_ema.") || name == "colorize" ||
         name == "quantize.embedding.cluster_size" || name == "quantize.embedding.embed_avg";
}

}  // namespace

ImportedCodec import_taming_codec(const TensorMap& given, const json& parameters, const ImportOptions& options,
                                  const std::string& where) {
  ImportedCodec codec;
  const auto file = with_used_codes(given, codec.assumptions, where);
  const bool gumbel = file.contains("quantize.embed.weight") || has_prefix(file, "quantize.proj.");
  auto plan = infer(file, gumbel, where);
  plan.cut_bytes = options.cut_bytes;
  plan.image_size = options.image_size.value_or(kAssumedResolution);
  codec.image_size_assumed = !options.image_size;
  if (!parameters.is_null()) {
    require(parameters.is_object() && parameters.contains("ddconfig") && parameters["ddconfig"].is_object(),
            "{}: the config has no model.params.ddconfig", where);
    const auto& network = parameters["ddconfig"];
    require(!network.contains("double_z") || network["double_z"] != true,
            "{}: double_z is true: a variational autoencoder, expected a VQModel", where);
    const auto stated = network.find("resolution");
    codec.image_size_assumed = stated == network.end() && !options.image_size;
    if (stated != network.end() && !options.image_size) {
      require(stated->is_number_integer(), "{}: resolution {} in the config is no integer", where, stated->dump());
      plan.image_size = stated->get<std::int64_t>();
    }
    const auto resolution = network.value("resolution", json(plan.image_size));
    const auto codes = given.contains("quantize.used") ? given.at("quantize.embedding.weight").size(0) : plan.codes;
    check(parameters, plan, codes, resolution.is_number_integer() ? resolution.get<std::int64_t>() : plan.image_size,
          where);
  }
  require(plan.image_size >= 1 && plan.image_size <= 65536, "{}: images of {} pixels a side", where, plan.image_size);
  codec.config = codec_config(plan);
  const auto levels = static_cast<std::int64_t>(plan.widths.size());
  codec.tensors = map_tensors(
      file, codec_parameter_shapes(codec.config),
      [&](const auto& native, const auto& shape) { return source_of(levels, gumbel, native, shape); }, is_unneeded,
      where);
  codec.discriminator = strip_prefix(file, "loss.discriminator.");
  return codec;
}

namespace {

ImportedCheckpoint run_taming(ImportSource& source) {
  const auto tensors = source.tensors_at("encoder.down.");
  ImportedCheckpoint imported;
  imported.codec = import_taming_codec(tensors, taming_config_of(source.path(), source.options(), "ddconfig"),
                                       source.options(), source.where());
  return imported;
}

}  // namespace

ImporterEntry taming_vqgan_importer() {
  return {"taming-vqgan", "Taming Transformers' VQModel, EMAVQ and GumbelVQ",
          [](ImportSource& source) { return match_by(source, "encoder.down."); }, run_taming, true};
}

}  // namespace tessera
