#include "checkpoint/parameter_shapes.h"

#include <algorithm>

#include "runtime/error.h"
#include "runtime/printable.h"

namespace tessera {
namespace {

using nlohmann::json;

constexpr std::int64_t kMaxField = 1 << 24;  // no width, depth or size in a config is larger
constexpr std::int64_t kMaxLayers = 512;

/// A config's field as a positive integer.
std::int64_t positive(const json& config, const char* field, std::int64_t limit = kMaxField) {
  const auto found = config.find(field);
  require(found != config.end() && found->is_number_integer(), "config: field '{}' is missing or no integer", field);
  const auto value = found->get<std::int64_t>();
  require(value >= 1 && value <= limit, "config: {} = {}, expected 1 to {}", field, value, limit);
  return value;
}

/// A config's flag; `otherwise` where it is absent.
bool flag(const json& config, const char* field, bool otherwise) {
  const auto found = config.find(field);
  if (found == config.end()) return otherwise;
  require(found->is_boolean(), "config: field '{}' is neither true nor false", field);
  return found->get<bool>();
}

/// Whether the codec's quantiser is the Gumbel one. Unknown names list the choices.
bool is_gumbel(const json& ours) {
  const auto found = ours.find("quantizer");
  if (found == ours.end()) return false;
  const auto name = found->is_string() ? found->get<std::string>() : "";
  require(name == "nearest" || name == "gumbel" || name == "ema",
          "config: quantizer '{}', expected nearest, gumbel or ema", printable(name));
  return name == "gumbel";
}

/// Adds the tensors of the codec's layers under hub names.
class CodecShapes {
 public:
  void convolution(const std::string& name, std::int64_t in, std::int64_t out, std::int64_t kernel) {
    shapes_[name + ".weight"] = {out, in, kernel, kernel};
    shapes_[name + ".bias"] = {out};
  }
  void norm(const std::string& name, std::int64_t width) {
    shapes_[name + ".weight"] = {width};
    shapes_[name + ".bias"] = {width};
  }
  void linear(const std::string& name, std::int64_t in, std::int64_t out) {
    shapes_[name + ".weight"] = {out, in};
    shapes_[name + ".bias"] = {out};
  }
  void residual(const std::string& name, std::int64_t in, std::int64_t out) {
    norm(name + ".norm1", in);
    convolution(name + ".conv1", in, out, 3);
    norm(name + ".norm2", out);
    convolution(name + ".conv2", out, out, 3);
    if (in != out) convolution(name + ".conv_shortcut", in, out, 1);
  }
  void attention(const std::string& name, std::int64_t width) {
    norm(name + ".group_norm", width);
    for (const char* part : {".to_q", ".to_k", ".to_v", ".to_out.0"}) linear(name + part, width, width);
  }
  void middle(const std::string& name, std::int64_t width, bool attends) {
    residual(name + ".resnets.0", width, width);
    if (attends) attention(name + ".attentions.0", width);
    residual(name + ".resnets.1", width, width);
  }
  void set(const std::string& name, Shape shape) { shapes_[name] = std::move(shape); }
  ShapeMap take() { return std::move(shapes_); }

 private:
  ShapeMap shapes_;
};

/// One flag a level: whether it has attention.
std::vector<bool> attention_levels(const json& config, const char* field, const char* plain, const char* attending,
                                   std::size_t levels) {
  const auto found = config.find(field);
  require(found != config.end() && found->is_array() && found->size() == levels,
          "config: {} is no list of {} block types", field, levels);
  std::vector<bool> flags;
  for (const auto& type : *found) {
    const auto name = type.is_string() ? type.get<std::string>() : type.dump();
    require(name == plain || name == attending, "config: {} holds '{}', expected {} or {}", field, printable(name),
            plain, attending);
    flags.push_back(name == attending);
  }
  return flags;
}

}  // namespace

std::string shape_text(const Shape& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += fmt::format("{}{}", i ? ", " : "", shape[i]);
  return text + "]";
}

std::string shape_text(const torch::Tensor& tensor) {
  return shape_text(tensor.sizes().vec());
}

ShapeMap codec_parameter_shapes(const json& config) {
  require(config.is_object(), "config: expected a JSON object");
  const auto ours = config.value("tessera", json::object());
  require(ours.is_object(), "config: field 'tessera' is no object");
  const auto widths_field = config.find("block_out_channels");
  require(
      widths_field != config.end() && widths_field->is_array() && !widths_field->empty() && widths_field->size() <= 32,
      "config: block_out_channels is no list of 1 to 32 widths");
  std::vector<std::int64_t> widths;
  for (const auto& width : *widths_field) {
    require(width.is_number_integer() && width.get<std::int64_t>() >= 1 && width.get<std::int64_t>() <= kMaxField,
            "config: block_out_channels holds {}", width.dump());
    widths.push_back(width.get<std::int64_t>());
  }
  const auto levels = widths.size();
  const auto blocks = positive(config, "layers_per_block", kMaxLayers);
  const auto decoder_blocks =
      ours.contains("decoder_layers_per_block") ? positive(ours, "decoder_layers_per_block", kMaxLayers) : blocks + 1;
  const auto base = ours.contains("base_channels") ? positive(ours, "base_channels") : widths.front();
  const auto latent = positive(config, "latent_channels");
  const auto embedding =
      config.contains("vq_embed_dim") && !config["vq_embed_dim"].is_null() ? positive(config, "vq_embed_dim") : latent;
  const auto codes = positive(config, "num_vq_embeddings");
  const auto down_attention =
      attention_levels(config, "down_block_types", "DownEncoderBlock2D", "AttnDownEncoderBlock2D", levels);
  const auto up_attention =
      attention_levels(config, "up_block_types", "UpDecoderBlock2D", "AttnUpDecoderBlock2D", levels);

  const bool middle_attention = flag(config, "mid_block_add_attention", true);

  CodecShapes shapes;
  auto width = base;
  shapes.convolution("encoder.conv_in", positive(config, "in_channels"), base, 3);
  for (std::size_t level = 0; level < levels; ++level) {
    const auto name = fmt::format("encoder.down_blocks.{}", level);
    for (std::int64_t block = 0; block < blocks; ++block) {
      shapes.residual(fmt::format("{}.resnets.{}", name, block), width, widths[level]);
      width = widths[level];
      if (down_attention[level]) shapes.attention(fmt::format("{}.attentions.{}", name, block), width);
    }
    if (level + 1 < levels) shapes.convolution(name + ".downsamplers.0.conv", width, width, 3);
  }
  shapes.middle("encoder.mid_block", width, middle_attention);
  shapes.norm("encoder.conv_norm_out", width);
  shapes.convolution("encoder.conv_out", width, latent, 3);

  shapes.convolution("decoder.conv_in", latent, width, 3);
  shapes.middle("decoder.mid_block", width, middle_attention);
  for (std::size_t up = 0; up < levels; ++up) {
    const auto name = fmt::format("decoder.up_blocks.{}", up);
    const auto out = widths[levels - 1 - up];
    for (std::int64_t block = 0; block < decoder_blocks; ++block) {
      shapes.residual(fmt::format("{}.resnets.{}", name, block), width, out);
      width = out;
      if (up_attention[up]) shapes.attention(fmt::format("{}.attentions.{}", name, block), width);
    }
    if (up + 1 < levels) shapes.convolution(name + ".upsamplers.0.conv", width, width, 3);
  }
  shapes.norm("decoder.conv_norm_out", width);
  const auto colours = positive(config, "out_channels");
  shapes.convolution("decoder.conv_out", width, colours, 3);
  if (flag(ours, "logsigma_head", false)) {
    shapes.convolution("decoder.logsigma.0", width, width, 3);
    shapes.convolution("decoder.logsigma.2", width, colours, 1);
  }

  shapes.set("quantize.embedding.weight", {codes, embedding});
  if (is_gumbel(ours)) shapes.convolution("quantize.proj", embedding, codes, 1);
  if (flag(ours, "quant_convolutions", true)) {
    shapes.convolution("quant_conv", latent, embedding, 1);
    shapes.convolution("post_quant_conv", embedding, latent, 1);
  }
  return shapes.take();
}

void match_parameters(const TensorMap& given, const ShapeMap& expected, const std::string& where) {
  constexpr std::size_t kListed = 64;  // of each kind; a stranger's file can have a hundred thousand
  struct List {
    std::string text;
    std::size_t count = 0;
    std::string told(const char* what) const {
      if (count == 0) return {};
      return fmt::format("; {}: {}{}", what, text, count > kListed ? fmt::format(" and {} more", count - kListed) : "");
    }
  } missing, unexpected, misshapen;
  const auto add = [](List& list, const std::string& entry) {
    if (++list.count <= kListed) list.text += (list.text.empty() ? "" : ", ") + entry;
  };
  for (const auto& [name, shape] : expected) {
    const auto found = given.find(name);
    if (found == given.end()) {
      add(missing, fmt::format("{} {}", name, shape_text(shape)));
    } else if (found->second.sizes() != torch::IntArrayRef(shape)) {
      add(misshapen, fmt::format("{} {} (expected {})", name, shape_text(found->second), shape_text(shape)));
    }
  }
  for (const auto& [name, tensor] : given) {
    if (!expected.contains(name)) add(unexpected, fmt::format("{} {}", printable(name), shape_text(tensor)));
  }
  const auto report = missing.told("missing") + unexpected.told("unexpected") + misshapen.told("of another shape");
  require(report.empty(), "{}: the tensors do not fit{}", where, report);
}

}  // namespace tessera
