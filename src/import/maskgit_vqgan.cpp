// MaskGIT's VQGAN (Chang et al., arXiv:2202.04200) as its PyTorch port has it. Key names:
// github.com/huggingface/open-muse, muse/modeling_maskgit_vqgan.py; 1d-tokenizer and MaskBit use the same.
//
// Its layers are special cases of the codec's own, to which the weights are rewritten, each exactly:
// - where widths differ a block returns h + S h of its second convolution's result h, without its input: (1 + S) is put
//   into that convolution, and the shortcut of the input is zero;
// - a 2x2 mean is a convolution of stride 2 that has a quarter at four places of each channel's own kernel;
// - a 1x1 convolution is the middle of a 3x3 one; missing biases are zero;
// - a middle of one residual block is followed by one that adds nothing, and so does the attention between the two.
#include "checkpoint/codec_plan.h"
#include "checkpoint/hub_codec.h"
#include "checkpoint/state_dict.h"
#include "import/importers.h"
#include "runtime/atomic_file.h"
#include "runtime/bounded_json.h"
#include "runtime/error.h"

namespace tessera {
namespace {

// Taming's files have the first alone, LlamaGen's the second.
constexpr const char* kVqganLevels = "encoder.down.";
constexpr const char* kVqganMiddle = "encoder.mid.0.";
constexpr const char* kVqganClass = "MaskGitVQGAN";
constexpr std::int64_t kVqganSize = 256;   // of the released files' training
constexpr std::int64_t kMiddleBlocks = 2;  // of the codec's middle
constexpr const char* kVqganShortcut = "nin_shortcut.weight";

std::string vqgan_level(const char* side, std::int64_t level) {
  return fmt::format("{}.{}.{}.", side, side[0] == 'e' ? "down" : "up", level);
}

/// Fields that a config.json may state, and what the tensors say.
void check_vqgan_config(const nlohmann::json& config, const CodecPlan& plan, const std::string& where) {
  std::string differences;
  const auto compare = [&](const char* field, const nlohmann::json& found) {
    if (config.is_object() && config.contains(field) && config[field] != found)
      differences +=
          fmt::format("; {} = {}, the tensors say {}", field,
                      config[field].dump(-1, ' ', false, nlohmann::json::error_handler_t::replace), found.dump());
  };
  auto multipliers = nlohmann::json::array();
  for (const auto width : plan.widths) multipliers.push_back(width / plan.base);
  compare("hidden_channels", plan.base);
  compare("channel_mult", multipliers);
  compare("num_res_blocks", plan.blocks);
  compare("z_channels", plan.latent);
  compare("quantized_embed_dim", plan.embedding);
  compare("num_embeddings", plan.codes);
  compare("num_channels", plan.in_channels);
  require(differences.empty(), "{}: the config does not fit the tensors{}", where, differences);
}

CodecPlan vqgan_plan(const TensorMap& file, const std::string& where) {
  CodecPlan plan;
  const auto& first = needed(file, "encoder.conv_in.weight", 4, where);
  plan.base = first.size(0);
  plan.in_channels = first.size(1);
  const auto levels = count_numbered(file, "encoder.down."), up_levels = count_numbered(file, "decoder.up.");
  require(levels > 0 && levels == up_levels, "{}: {} levels in the encoder, {} in the decoder", where, levels,
          up_levels);
  plan.blocks = plan.decoder_blocks = count_numbered(file, "encoder.down.0.block.");
  require(plan.blocks >= 1 && plan.blocks <= kMiddleBlocks, "{}: {} residual blocks a level, expected 1 or {}", where,
          plan.blocks, kMiddleBlocks);
  for (std::int64_t level = 0; level < levels; ++level) {
    const auto name = vqgan_level("encoder", level) + "block.0.conv2.weight";
    const auto& second = needed(file, name, 4, where);
    require(second.size(0) == second.size(1), "{}: {} is {}, expected as many channels in as out", where, name,
            shape_text(second));
    plan.widths.push_back(second.size(0));
  }
  plan.latent = needed(file, "encoder.conv_out.weight", 4, where).size(0);
  plan.out_channels = needed(file, "decoder.conv_out.weight", 4, where).size(0);
  const auto& codebook = needed(file, "quantize.embedding.weight", 2, where);
  plan.codes = codebook.size(0);
  plan.embedding = codebook.size(1);
  plan.down_attention.assign(static_cast<std::size_t>(levels), false);
  plan.up_attention = plan.down_attention;
  plan.quant_convolutions = false;
  plan.pixel_range = "unit";
  return plan;
}

/// The file's tensors rewritten to the codec's layers, under the names that they have in the file.
class VqganRewriting {
 public:
  VqganRewriting(const TensorMap& file, const CodecPlan& plan) : plan_(plan), tensors_(file) {
    for (const auto& [name, tensor] : file) {
      if (name.ends_with(kVqganShortcut))
        fold_shortcut(name.substr(0, name.size() - std::string(kVqganShortcut).size()));
    }
    for (const auto& [name, tensor] : file) {
      const bool is_of_a_block = name.find(".block.") != std::string::npos || name.find(".mid.") != std::string::npos;
      if (name.ends_with(".weight") && tensor.dim() == 4 && (is_of_a_block || name == "encoder.conv_in.weight"))
        tensors_.emplace(name.substr(0, name.size() - 6) + "bias", torch::zeros({tensor.size(0)}));
    }
    auto& narrow = tensors_.at("encoder.conv_out.weight");
    if (narrow.size(2) == 1 && narrow.size(3) == 1) narrow = torch::constant_pad_nd(narrow, {1, 1, 1, 1});
    for (std::size_t level = 0; level + 1 < plan.widths.size(); ++level) {
      const auto name = vqgan_level("encoder", static_cast<std::int64_t>(level)) + "mean.";
      auto mean = torch::zeros({plan.widths[level], plan.widths[level], 3, 3});
      mean.slice(2, 0, 2).slice(3, 0, 2).diagonal(0, 0, 1).fill_(0.25);
      tensors_[name + "weight"] = mean;
      tensors_[name + "bias"] = torch::zeros({plan.widths[level]});
    }
    for (const char* side : {"encoder", "decoder"}) {
      if (plan.blocks == 1) add_no_residual(fmt::format("{}.mid.1.", side));
      add_no_attention(fmt::format("{}.mid.attention.", side));
    }
  }

  const TensorMap& tensors() const { return tensors_; }

 private:
  void fold_shortcut(const std::string& block) {
    const auto second = tensors_.find(block + "conv2.weight"), first = tensors_.find(block + "conv1.weight");
    auto& shortcut = tensors_.at(block + kVqganShortcut);
    const bool fits = second != tensors_.end() && first != tensors_.end() && second->second.dim() == 4 &&
                      first->second.dim() == 4 && shortcut.dim() == 4 && shortcut.size(2) == 1 &&
                      shortcut.size(3) == 1 && shortcut.size(0) == shortcut.size(1) &&
                      shortcut.size(1) == second->second.size(0);
    if (!fits) return;  // named among the misshapen
    const auto convolution = second->second.to(torch::kFloat64);
    const auto added = torch::matmul(shortcut.to(torch::kFloat64).flatten(1), convolution.flatten(1));
    second->second = (convolution + added.view_as(convolution)).to(torch::kFloat32);
    shortcut = torch::zeros({first->second.size(0), first->second.size(1), 1, 1});
  }
  /// A residual block of the coarsest width whose second convolution is zero.
  void add_no_residual(const std::string& block) {
    const auto width = plan_.widths.back();
    for (const char* norm : {"norm1", "norm2"}) {
      tensors_[block + norm + ".weight"] = torch::ones({width});
      tensors_[block + norm + ".bias"] = torch::zeros({width});
    }
    for (const char* convolution : {"conv1", "conv2"}) {
      tensors_[block + convolution + ".weight"] = torch::zeros({width, width, 3, 3});
      tensors_[block + convolution + ".bias"] = torch::zeros({width});
    }
  }

  /// An attention whose output is zero.
  void add_no_attention(const std::string& block) {
    const auto width = plan_.widths.back();
    tensors_[block + "norm.weight"] = torch::ones({width});
    tensors_[block + "norm.bias"] = torch::zeros({width});
    for (const char* part : {"q", "k", "v", "proj_out"}) {
      tensors_[block + part + ".weight"] = torch::zeros({width, width, 1, 1});
      tensors_[block + part + ".bias"] = torch::zeros({width});
    }
  }

  const CodecPlan& plan_;
  TensorMap tensors_;
};

/// The decoder's levels count from the finest in the file, from the coarsest in the codec.
TensorSource vqgan_source(const std::string& native, const Shape& shape, std::int64_t levels) {
  const auto name = parse_codec_name(native);
  const std::string side = name.decoder ? "decoder" : "encoder";
  const auto level = vqgan_level(side.c_str(), name.decoder ? levels - 1 - name.level : name.level);
  switch (name.layer) {
    case CodecLayer::residual:
      return original_residual(fmt::format("{}block.{}.", level, name.block), name.rest, shape, "nin_shortcut");
    case CodecLayer::middle_residual:
      return original_residual(fmt::format("{}.mid.{}.", side, name.block), name.rest, shape, "nin_shortcut");
    case CodecLayer::middle_attention:
      return original_attention(side + ".mid.attention.", name.rest, shape);
    case CodecLayer::resample:
      // conv.weight, conv.bias
      return {{level + (name.decoder ? "upsample_" + name.rest : "mean." + name.rest.substr(5))}, shape};
    default:
      break;
  }
  auto original = native;
  if (const auto at = original.find(".conv_norm_out."); at != std::string::npos) original.replace(at, 15, ".norm_out.");
  return {{original}, shape};
}

ImportedCodec import_maskgit_vqgan(const TensorMap& file, const nlohmann::json& config, const ImportOptions& options,
                                   const std::string& where) {
  ImportedCodec codec;
  auto plan = vqgan_plan(file, where);
  check_vqgan_config(config, plan, where);
  plan.cut_bytes = options.cut_bytes;
  plan.image_size = options.image_size.value_or(kVqganSize);
  if (config.is_object() && config.contains("resolution") && config["resolution"].is_number_integer()) {
    const auto stated = config["resolution"].get<std::int64_t>();
    require(!options.image_size || *options.image_size == stated,
            "{}: images of {} pixels were given, the config says {}", where, plan.image_size, stated);
    plan.image_size = stated;
  } else {
    codec.image_size_assumed = !options.image_size;
  }
  require(plan.image_size >= 1 && plan.image_size <= 65536, "{}: images of {} pixels a side", where, plan.image_size);
  codec.config = codec_config(plan);
  const auto levels = static_cast<std::int64_t>(plan.widths.size());
  codec.tensors = map_tensors(
      VqganRewriting(file, plan).tensors(), codec_parameter_shapes(codec.config),
      [&](const std::string& native, const Shape& shape) { return vqgan_source(native, shape, levels); },
      [](const std::string&) { return false; }, where);
  return codec;
}

/// The config.json of a folder, of the file given, or beside a file; null: there is none of this class.
nlohmann::json vqgan_config(const ImportSource& source) {
  constexpr std::uint64_t kMost = 256 << 10;
  const auto& given = source.options().config;
  const auto beside = source.is_folder() ? source.path() : std::filesystem::absolute(source.path()).parent_path();
  const auto path = given.empty() ? beside / "config.json" : given;
  if (given.empty() && !std::filesystem::exists(path)) return nullptr;
  auto config = read_json_object(read_file(path, kMost), path.string());
  if (config.value("_class_name", nlohmann::json()) == kVqganClass) return config;
  require(given.empty(), "{}: _class_name is not {}", path.string(), kVqganClass);
  return nullptr;
}

ImporterEntry::Match recognises_vqgan(ImportSource& source) {
  if (source.is_folder()) {
    return vqgan_config(source).is_null() ? ImporterEntry::Match::none : ImporterEntry::Match::by_structure;
  }
  const auto levels = match_by(source, kVqganLevels), middle = match_by(source, kVqganMiddle);
  return levels == middle ? levels : ImporterEntry::Match::none;
}

ImportedCheckpoint run_vqgan(ImportSource& source) {
  const auto tensors = source.is_folder() ? load_hub_weights(source.path(), {"model", "pytorch_model"})
                                          : source.tensors_at(kVqganMiddle);
  ImportedCheckpoint imported;
  imported.codec = import_maskgit_vqgan(tensors, vqgan_config(source), source.options(), source.where());
  return imported;
}

}  // namespace

ImporterEntry maskgit_vqgan_importer() {
  return {"maskgit-vqgan", "MaskGIT's VQGAN in its PyTorch port, a folder or a file", recognises_vqgan, run_vqgan,
          true};
}

}  // namespace tessera
