// LlamaGen's image tokenizer (Sun et al., arXiv:2406.06525). Key names: github.com/FoundationVision/LlamaGen,
// tokenizer/tokenizer_image/vq_model.py.
#include "checkpoint/codec_plan.h"
#include "import/importers.h"
#include "runtime/error.h"

namespace tessera {
namespace {

constexpr const char* kSign = "encoder.conv_blocks.";
constexpr std::int64_t kAssumedSize = 256;  // of the released files' training

/// Both lists of levels stand in the order in which they are computed: the decoder's begins with the coarsest.
TensorSource llamagen_source(const std::string& native, const Shape& shape) {
  const auto name = parse_codec_name(native);
  const std::string side = name.decoder ? "decoder" : "encoder";
  const auto level = fmt::format("{}.conv_blocks.{}.", side, name.level);
  switch (name.layer) {
    case CodecLayer::residual:
      return original_residual(fmt::format("{}res.{}.", level, name.block), name.rest, shape, "nin_shortcut");
    case CodecLayer::attention:
      return original_attention(fmt::format("{}attn.{}.", level, name.block), name.rest, shape);
    case CodecLayer::middle_residual:
      return original_residual(fmt::format("{}.mid.{}.", side, 2 * name.block), name.rest, shape, "nin_shortcut");
    case CodecLayer::middle_attention:
      return original_attention(side + ".mid.1.", name.rest, shape);
    case CodecLayer::resample:
      return {{level + (name.decoder ? "upsample." : "downsample.") + name.rest}, shape};
    case CodecLayer::other:
      break;
  }
  auto original = native;
  if (const auto at = original.find(".conv_norm_out."); at != std::string::npos) original.replace(at, 15, ".norm_out.");
  return {{original}, shape};
}

/// The width of a level: of its last residual block.
std::int64_t llamagen_width(const TensorMap& file, const std::string& level, std::int64_t blocks,
                            const std::string& where) {
  return needed(file, fmt::format("{}res.{}.conv1.weight", level, blocks - 1), 4, where).size(0);
}

CodecPlan llamagen_plan(const TensorMap& file, const std::string& where) {
  CodecPlan plan;
  const auto& first = needed(file, "encoder.conv_in.weight", 4, where);
  plan.base = first.size(0);
  plan.in_channels = first.size(1);
  const auto levels = count_numbered(file, kSign), up_levels = count_numbered(file, "decoder.conv_blocks.");
  require(levels > 0 && up_levels == levels, "{}: {} levels in the encoder, {} in the decoder", where, levels,
          up_levels);
  plan.blocks = count_numbered(file, "encoder.conv_blocks.0.res.");
  plan.decoder_blocks = count_numbered(file, "decoder.conv_blocks.0.res.");
  require(plan.blocks > 0 && plan.decoder_blocks > 0, "{}: a level without residual blocks", where);
  for (std::int64_t level = 0; level < levels; ++level) {
    const auto down = fmt::format("encoder.conv_blocks.{}.", level);
    const auto up = fmt::format("decoder.conv_blocks.{}.", level);
    plan.widths.push_back(llamagen_width(file, down, plan.blocks, where));
    plan.down_attention.push_back(level_attention(count_numbered(file, down + "attn."), plan.blocks, down, where));
    plan.up_attention.push_back(level_attention(count_numbered(file, up + "attn."), plan.decoder_blocks, up, where));
  }
  for (std::int64_t level = 0; level < levels; ++level) {
    const auto up = fmt::format("decoder.conv_blocks.{}.", levels - 1 - level);
    const auto width = llamagen_width(file, up, plan.decoder_blocks, where);
    const auto own = plan.widths[static_cast<std::size_t>(level)];
    require(width == own, "{}: level {} is {} wide in the encoder and {} in the decoder, expected the same", where,
            level, own, width);
  }
  plan.latent = needed(file, "encoder.conv_out.weight", 4, where).size(0);
  plan.out_channels = needed(file, "decoder.conv_out.weight", 4, where).size(0);
  const auto& codebook = needed(file, "quantize.embedding.weight", 2, where);
  plan.codes = codebook.size(0);
  plan.embedding = codebook.size(1);
  plan.unit_length = true;
  return plan;
}

}  // namespace

ImportedCodec import_llamagen_codec(const TensorMap& file, const ImportOptions& options, const std::string& where) {
  ImportedCodec codec;
  auto plan = llamagen_plan(file, where);
  plan.cut_bytes = options.cut_bytes;
  plan.image_size = options.image_size.value_or(kAssumedSize);
  require(plan.image_size >= 1 && plan.image_size <= 65536, "{}: images of {} pixels a side", where, plan.image_size);
  codec.image_size_assumed = !options.image_size;
  codec.config = codec_config(plan);
  codec.assumptions.push_back("codes are compared at unit length, as in every released file");
  codec.tensors = map_tensors(
      file, codec_parameter_shapes(codec.config), llamagen_source,
      [](const std::string& name) { return name == "quantize.codebook_used"; }, where);
  return codec;
}

ImporterEntry llamagen_vq_importer() {
  return {"llamagen-vq", "LlamaGen's image tokenizer, VQ-16 and VQ-8",
          [](ImportSource& source) { return match_by(source, kSign); },
          [](ImportSource& source) {
            ImportedCheckpoint imported;
            imported.codec = import_llamagen_codec(source.tensors_at(kSign), source.options(), source.where());
            return imported;
          }};
}

}  // namespace tessera
