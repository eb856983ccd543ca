// Unleashing Transformers' VQGAN. Key names: github.com/samb-t/unleashing-transformers, models/vqgan.py: encoder and
// generator are flat lists of blocks, so that the geometry is read off the kinds of blocks.
#include <algorithm>

#include "checkpoint/codec_plan.h"
#include "import/importers.h"
#include "runtime/error.h"

namespace tessera {
namespace {

enum class StageBlock { convolution, residual, attention, resample };

constexpr std::int64_t kPaperImageSize = 256;

/// The kinds of the blocks of `prefix`N, by the names in them.
std::vector<StageBlock> blocks_of(const TensorMap& file, const std::string& prefix, const std::string& where) {
  const auto count = count_numbered(file, prefix);
  std::vector<StageBlock> blocks;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto name = fmt::format("{}{}.", prefix, i);
    if (has_prefix(file, name + "norm1.") || has_prefix(file, name + "conv1.") || has_prefix(file, name + "conv2.")) {
      blocks.push_back(StageBlock::residual);
    } else if (has_prefix(file, name + "q.") || has_prefix(file, name + "k.") || has_prefix(file, name + "v.")) {
      blocks.push_back(StageBlock::attention);
    } else if (has_prefix(file, name + "conv.")) {
      blocks.push_back(StageBlock::resample);
    } else {
      blocks.push_back(StageBlock::convolution);  // or the last normalisation
    }
  }
  // Both lists hold a convolution, the middle (residual, attention, residual), a normalisation and a convolution beside
  // the levels.
  require(count >= 7, "{}: {} blocks under '{}', expected at least 7", where, count, prefix);
  return blocks;
}

void expect_blocks(const std::vector<StageBlock>& blocks, std::size_t first, const std::vector<StageBlock>& expected,
                   const std::string& prefix, const std::string& where) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    require(blocks[first + i] == expected[i],
            "{}: block '{}{}' is not of the kind that belongs there (is a block missing?)", where, prefix, first + i);
  }
}

struct Level {
  std::vector<std::int64_t> residuals;  // flat indices
  std::vector<std::int64_t> attentions;
  std::int64_t resample = -1;
};

/// Splits blocks [first, last) into levels at the resampling blocks.
std::vector<Level> levels_of(const std::vector<StageBlock>& blocks, std::size_t first, std::size_t last,
                             const std::string& prefix, const std::string& where) {
  std::vector<Level> levels(1);
  for (std::size_t i = first; i < last; ++i) {
    const auto index = static_cast<std::int64_t>(i);
    auto& level = levels.back();
    switch (blocks[i]) {
      case StageBlock::residual:
        level.residuals.push_back(index);
        break;
      case StageBlock::attention:
        require(i > first && blocks[i - 1] == StageBlock::residual, "{}: attention '{}{}' follows no residual block",
                where, prefix, i);
        level.attentions.push_back(index);
        break;
      case StageBlock::resample:
        level.resample = index;
        levels.emplace_back();
        break;
      case StageBlock::convolution:
        fail("{}: block '{}{}' is not of the kind that belongs there", where, prefix, i);
    }
  }
  return levels;
}

/// Where every layer of the native codec sits in the flat lists.
struct FlatLists {
  std::vector<Level> down;
  std::vector<Level> up;
  std::int64_t encoder_blocks = 0;
  std::int64_t generator_blocks = 0;

  std::int64_t index_of(const CodecName& name) const {
    const auto& levels = name.decoder ? up : down;
    const auto middle = name.decoder ? 1 : encoder_blocks - 5;
    switch (name.layer) {
      case CodecLayer::residual:
        return levels[static_cast<std::size_t>(name.level)].residuals[static_cast<std::size_t>(name.block)];
      case CodecLayer::attention:
        return levels[static_cast<std::size_t>(name.level)].attentions[static_cast<std::size_t>(name.block)];
      case CodecLayer::resample:
        return levels[static_cast<std::size_t>(name.level)].resample;
      case CodecLayer::middle_residual:
        return middle + 2 * name.block;
      case CodecLayer::middle_attention:
        return middle + 1;
      case CodecLayer::other:
        break;
    }
    const auto count = name.decoder ? generator_blocks : encoder_blocks;
    if (name.rest.find(".conv_in.") != std::string::npos) return 0;
    return name.rest.find(".conv_norm_out.") != std::string::npos ? count - 2 : count - 1;
  }
};

TensorSource source_of(const FlatLists& lists, bool gumbel, const std::string& native, const Shape& shape) {
  if (native == "quantize.embedding.weight")
    return {{gumbel ? "ae.quantize.embed.weight" : "ae.quantize.embedding.weight"}, shape};
  if (native.starts_with("quantize.proj.")) return {{"ae." + native}, shape};
  const auto field = native.substr(native.rfind('.') + 1);
  if (native.starts_with("decoder.logsigma.")) return {{"ae.generator" + native.substr(7)}, shape};
  const auto name = parse_codec_name(native);
  const auto prefix = fmt::format("ae.{}.blocks.{}.", name.decoder ? "generator" : "encoder", lists.index_of(name));
  switch (name.layer) {
    case CodecLayer::residual:
    case CodecLayer::middle_residual:
      return original_residual(prefix, name.rest, shape, "conv_out");
    case CodecLayer::attention:
    case CodecLayer::middle_attention:
      return original_attention(prefix, name.rest, shape);
    case CodecLayer::resample:
      return {{prefix + name.rest}, shape};
    case CodecLayer::other:
      break;
  }
  return {{prefix + field}, shape};
}

/// The width that a residual block puts out.
std::int64_t width_of(const TensorMap& file, const std::string& prefix, std::int64_t index, const std::string& where) {
  return needed(file, fmt::format("{}{}.conv1.weight", prefix, index), 4, where).size(0);
}

/// Residual blocks a level and which levels attend, of one list.
std::int64_t read_levels(const std::vector<Level>& levels, std::vector<bool>& attention, const std::string& prefix,
                         const std::string& where) {
  const auto blocks = static_cast<std::int64_t>(levels.front().residuals.size());
  for (std::size_t i = 0; i < levels.size(); ++i) {
    const auto own = static_cast<std::int64_t>(levels[i].residuals.size());
    require(own == blocks && own > 0,
            "{}: level {} of '{}' has {} residual blocks, the first level {} (is a block missing?)", where, i, prefix,
            own, blocks);
    attention.push_back(level_attention(static_cast<std::int64_t>(levels[i].attentions.size()), own,
                                        fmt::format("level {} of '{}'", i, prefix), where));
  }
  return blocks;
}

/// A residual block's 1x1 conv_out, which the original owns also where the widths are equal and never uses there.
bool is_idle_shortcut(const std::string& name) {
  return name.starts_with("ae.") && name.find(".blocks.") != std::string::npos &&
         name.find(".conv_out.") != std::string::npos;
}

}  // namespace

ImportedCodec import_unleashing_codec(const TensorMap& file, const ImportOptions& options, const std::string& where) {
  const std::string encoder = "ae.encoder.blocks.";
  const std::string generator = "ae.generator.blocks.";
  const auto encoder_kinds = blocks_of(file, encoder, where);
  const auto generator_kinds = blocks_of(file, generator, where);
  const std::vector<StageBlock> middle = {StageBlock::residual, StageBlock::attention, StageBlock::residual};
  expect_blocks(encoder_kinds, encoder_kinds.size() - 5, middle, encoder, where);
  expect_blocks(generator_kinds, 1, middle, generator, where);
  FlatLists lists;
  lists.encoder_blocks = static_cast<std::int64_t>(encoder_kinds.size());
  lists.generator_blocks = static_cast<std::int64_t>(generator_kinds.size());
  lists.down = levels_of(encoder_kinds, 1, encoder_kinds.size() - 5, encoder, where);
  lists.up = levels_of(generator_kinds, 4, generator_kinds.size() - 2, generator, where);
  require(lists.down.size() == lists.up.size(), "{}: the encoder has {} levels, the generator {}", where,
          lists.down.size(), lists.up.size());

  ImportedCodec codec;
  CodecPlan plan;
  plan.blocks = read_levels(lists.down, plan.down_attention, encoder, where);
  plan.decoder_blocks = read_levels(lists.up, plan.up_attention, generator, where);
  const auto& first = needed(file, encoder + "0.weight", 4, where);
  plan.base = first.size(0);
  plan.in_channels = first.size(1);
  for (const auto& level : lists.down) plan.widths.push_back(width_of(file, encoder, level.residuals.back(), where));
  plan.latent = needed(file, fmt::format("{}{}.weight", encoder, lists.encoder_blocks - 1), 4, where).size(0);
  plan.out_channels = needed(file, fmt::format("{}{}.weight", generator, lists.generator_blocks - 1), 4, where).size(0);
  const bool gumbel = file.contains("ae.quantize.embed.weight") || has_prefix(file, "ae.quantize.proj.");
  const auto& codebook = needed(file, gumbel ? "ae.quantize.embed.weight" : "ae.quantize.embedding.weight", 2, where);
  plan.codes = codebook.size(0);
  plan.embedding = codebook.size(1);
  plan.quantizer = gumbel ? "gumbel" : "nearest";
  plan.quant_convolutions = false;
  plan.final_activation = false;
  plan.pixel_range = "unit";
  plan.logsigma_head = has_prefix(file, "ae.generator.logsigma.");
  const auto factor = std::int64_t{1} << std::min<std::size_t>(lists.down.size() - 1, 20);
  if (options.image_size) {
    plan.image_size = *options.image_size;
  } else if (options.grid) {
    plan.image_size = std::max(options.grid->first, options.grid->second) * factor;
  } else {
    plan.image_size = kPaperImageSize;
    codec.image_size_assumed = true;
  }
  require(plan.image_size >= factor && plan.image_size % factor == 0,
          "{}: images of {} pixels cannot be halved {} times", where, plan.image_size, lists.down.size() - 1);

  codec.config = codec_config(plan);
  const auto unneeded = [](const std::string& name) {
    return name.starts_with("disc.main.") || name.starts_with("perceptual.") || is_idle_shortcut(name);
  };
  codec.tensors = map_tensors(
      file, codec_parameter_shapes(codec.config),
      [&](const auto& native, const auto& shape) { return source_of(lists, gumbel, native, shape); }, unneeded, where);
  codec.discriminator = strip_prefix(file, "disc.");
  return codec;
}

ImporterEntry unleashing_vqgan_importer() {
  return {"unleashing-vqgan", "Unleashing Transformers' VQGAN",
          [](ImportSource& source) { return match_by(source, "ae.encoder.blocks."); },
          [](ImportSource& source) {
            ImportedCheckpoint imported;
            imported.codec =
                import_unleashing_codec(source.tensors_at("ae.encoder.blocks."), source.options(), source.where());
            return imported;
          }};
}

}  // namespace tessera
