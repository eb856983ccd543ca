// ImageBART's Lightning checkpoints, one a time step of its chain (Esser et al., arXiv:2108.08827), with their yaml.
// Names of tensors as they stand in published files; averaged weights are taken.
#include "denoiser/image_bart.h"

#include <algorithm>

#include "checkpoint/tensor_mapping.h"
#include "import/importers.h"
#include "import/mingpt.h"
#include "runtime/error.h"
#include "runtime/printable.h"

namespace tessera {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::int64_t kInnerHeadWidth = 64;  // of the encoder-decoders, whatever their width
constexpr int kDeepest = 3;                   // folders below the one given in which checkpoints are looked for
constexpr std::int64_t kPublishedTopK = 100;
constexpr const char* kScaleSign = "single_scale";  // in the yaml of each scale

/// One checkpoint.
struct ScaleFile {
  std::string where;
  json parameters;    // model.params of its yaml
  TensorMap network;  // plain names, averaged values, without "transformer."
  TensorMap first_stage;
  torch::Tensor alphas;  // [T + 1]: 1 - beta_t
  std::int64_t time = 0;

  bool has_encoder() const { return has_prefix(network, "encoder."); }
};

/// The yaml's number at a path; an Error where there is none.
std::int64_t number_in(const ScaleFile& file, const char* path) {
  const json::json_pointer at(path);
  require(file.parameters.contains(at) && file.parameters.at(at).is_number_integer(),
          "{}: its yaml has no number model.params{}", file.where, path);
  return file.parameters.at(at).get<std::int64_t>();
}

/// Averages stand under the plain names without their dots.
TensorMap averaged(const TensorMap& state, const std::string& where) {
  const auto plain = strip_prefix(state, "transformer.");
  auto averages = strip_prefix(state, "transformer_ema.");
  averages.erase("decay");
  averages.erase("num_updates");
  if (averages.empty()) return plain;
  TensorMap result;
  std::size_t taken = 0;
  for (const auto& [name, tensor] : plain) {
    auto dotless = name;
    dotless.erase(std::remove(dotless.begin(), dotless.end(), '.'), dotless.end());
    const auto found = averages.find(dotless);
    if (found == averages.end()) continue;  // a buffer; what is missing of the network is listed when it is mapped
    require(result.emplace(name, found->second).second, "{}: two tensors are '{}' without dots", where,
            printable(name));
    ++taken;
  }
  require(taken == averages.size(), "{}: {} of its {} averaged tensors belong to none of the network's", where,
          averages.size() - taken, averages.size());
  return result;
}

ScaleFile read_scale(const fs::path& path, const ImportOptions& options) {
  ScaleFile file;
  file.where = path.string();
  file.parameters = taming_config_of(path, {}, kScaleSign);
  require(file.parameters.is_object() && file.parameters.contains(kScaleSign),
          "{}: its yaml is not beside it, expected one with {}", file.where, kScaleSign);
  ImportSource source(path, options);
  const auto& state = source.tensors();
  file.network = averaged(state, file.where);
  file.first_stage = strip_prefix(state, "first_stage_model.");
  file.alphas = needed(state, "alphats", 1, file.where).to(torch::kFloat64).contiguous();
  file.time = number_in(file, "/single_scale");
  return file;
}

/// Checkpoints in a folder and below that have such a yaml.
std::vector<fs::path> scales_in(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code ignored;
  for (auto entry = fs::recursive_directory_iterator(folder, ignored); entry != fs::recursive_directory_iterator();
       entry.increment(ignored)) {
    if (ignored) break;
    if (entry.depth() >= kDeepest) entry.disable_recursion_pending();
    if (entry->path().extension() != ".ckpt" || !entry->is_regular_file(ignored)) continue;
    if (taming_config_of(entry->path(), {}, kScaleSign).is_object()) found.push_back(entry->path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::int64_t heads_by(const TensorMap& network, const std::string& projection, const std::string& where) {
  const auto inner = needed(network, projection, 2, where).size(0);
  require(inner % kInnerHeadWidth == 0, "{}: {} has {} rows, expected a multiple of {}", where, projection, inner,
          kInnerHeadWidth);
  return inner / kInnerHeadWidth;
}

ScaleOptions options_of(const ScaleFile& file, bool has_classes) {
  ScaleOptions scale;
  const auto& network = file.network;
  if (!file.has_encoder()) {
    const auto& table = needed(network, "tok_emb.weight", 2, file.where);
    scale.width = table.size(1);
    scale.vocabulary = table.size(0);
    scale.decoder_layers = count_numbered(network, "blocks.");
    scale.decoder_heads = number_in(file, "/transformer_config/params/n_head");
    require(scale.decoder_heads > 0 && scale.width % scale.decoder_heads == 0,
            "{}: a width of {} for {} heads, expected a multiple", file.where, scale.width, scale.decoder_heads);
    scale.head_width = scale.width / scale.decoder_heads;
    scale.open_start = has_classes;
    return scale;
  }
  const auto& table = needed(network, "encoder.token_emb.weight", 2, file.where);
  scale.width = table.size(1);
  scale.vocabulary = table.size(0);
  scale.head_width = kInnerHeadWidth;
  scale.encoder_layers = count_numbered(network, "encoder.attn_layers.layers.") / 2;
  scale.decoder_layers = count_numbered(network, "decoder.attn_layers.layers.") / 3;
  scale.encoder_heads = heads_by(network, "encoder.attn_layers.layers.0.1.to_q.weight", file.where);
  scale.decoder_heads = heads_by(network, "decoder.attn_layers.layers.0.1.to_q.weight", file.where);
  scale.residual = network.contains("log_scalors");
  return scale;
}

/// The source of "layers.N.PART.." of an encoder (a norm and its block twice a layer) or decoder (three times).
TensorSource source_of_layer(const std::string& side, const std::string& rest, const Shape& shape) {
  const auto number_end = rest.find('.', 7);
  const auto number = std::stoll(rest.substr(7, number_end - 7));
  const auto part = rest.substr(number_end + 1);
  const auto dot = part.find('.');
  const auto head = part.substr(0, dot), tail = part.substr(dot + 1);
  const std::int64_t blocks = side == "encoder" ? 2 : 3;
  std::int64_t block = blocks - 1;  // the feed-forward one
  if (head == "norm1" || head == "self") block = 0;
  if (head == "norm2" || head == "cross") block = 1;
  const auto at = fmt::format("{}.attn_layers.layers.{}.", side, number * blocks + block);
  if (head.starts_with("norm")) return {{at + "0." + tail}, shape};
  if (head == "up") return {{at + "1.net.0.0." + tail}, shape};
  if (head == "down") return {{at + "1.net.2." + tail}, shape};
  static const std::map<std::string, std::string> projections = {
      {"query", "to_q"}, {"key", "to_k"}, {"value", "to_v"}, {"output", "to_out"}};
  const auto end = tail.find('.');
  return {{at + "1." + projections.at(tail.substr(0, end)) + tail.substr(end)}, shape};
}

TensorSource source_in_encoder_decoder(const std::string& native, const Shape& shape) {
  if (native == "log_scale") return {{native}, shape};
  if (native.starts_with("head.")) return {{"decoder.to_logits" + native.substr(4)}, shape};
  const auto dot = native.find('.');
  const auto side = native.substr(0, dot), rest = native.substr(dot + 1);
  if (rest == "token_embedding.weight") return {{side + ".token_emb.weight"}, shape};
  if (rest == "position_embedding") return {{side + ".pos_emb.emb.weight"}, shape};
  if (rest.starts_with("stack.norm.")) return {{side + rest.substr(5)}, shape};
  return source_of_layer(side, rest.substr(6), shape);
}

/// minGPT's names, of which ours differ a little: the products of a layer stand apart.
TensorSource source_in_decoder(const std::string& native, const Shape& shape) {
  if (native == "head.weight") return {{native}, shape};
  const auto rest = native.substr(native.find('.') + 1);
  if (rest == "token_embedding.weight" || rest == "position_embedding") return mingpt_source("", rest, shape);
  if (rest.starts_with("stack.norm.")) return {{"ln_f." + rest.substr(11)}, shape};
  auto name = "blocks." + rest.substr(13);  // stack.layers.
  for (const auto& [own, theirs] :
       {std::pair{".norm1.", ".ln1."}, std::pair{".norm3.", ".ln2."}, std::pair{".self.output.", ".attn.proj."},
        std::pair{".self.", ".attn."}, std::pair{".up.", ".mlp.0."}, std::pair{".down.", ".mlp.2."}}) {
    const auto at = name.find(own);
    if (at == std::string::npos) continue;
    name.replace(at, std::string(own).size(), theirs);
    break;
  }
  return {{name}, shape};
}

/// Positions beyond the grid are cut off, and of the factors of all scales the own one taken.
TensorMap cut_to(const ScaleFile& file, const ShapeMap& expected) {
  auto result = file.network;
  const auto cut = [&](const std::string& name, std::int64_t dimension, const char* native) {
    const auto found = result.find(name);
    const auto places = expected.find(native);
    if (found == result.end() || places == expected.end() || found->second.dim() <= dimension) return;
    if (found->second.size(dimension) > places->second[0])
      found->second = found->second.slice(dimension, 0, places->second[0]).contiguous();
  };
  cut("encoder.pos_emb.emb.weight", 0, "encoder.position_embedding");
  cut("decoder.pos_emb.emb.weight", 0, "decoder.position_embedding");
  cut("pos_emb", 1, "decoder.position_embedding");
  if (const auto factors = result.find("log_scalors"); factors != result.end()) {
    require(factors->second.dim() == 1 && factors->second.size(0) >= file.time, "{}: log_scalors is {}, expected [{}]",
            file.where, shape_text(factors->second), file.alphas.size(0) - 1);
    result["log_scale"] = factors->second.slice(0, file.time - 1, file.time).contiguous();
    result.erase("log_scalors");
  }
  return result;
}

/// The files by time, 1..T; all of the same chain.
std::vector<ScaleFile> read_scales(const std::vector<fs::path>& paths, const ImportOptions& options,
                                   const std::string& where) {
  std::vector<ScaleFile> files;
  for (const auto& path : paths) files.push_back(read_scale(path, options));
  std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.time < b.time; });
  const auto total = files.front().alphas.size(0) - 1;
  for (std::size_t i = 0; i < files.size(); ++i) {
    const auto& file = files[i];
    require(file.alphas.size(0) == total + 1 && torch::allclose(file.alphas, files.front().alphas),
            "{}: of another chain than {}", file.where, files.front().where);
    require(file.time == static_cast<std::int64_t>(i) + 1, "{}: the scale {} of {} is {}: expected one file of each",
            where, i + 1, total, file.time > static_cast<std::int64_t>(i) + 1 ? "missing" : "there twice");
  }
  require(static_cast<std::int64_t>(files.size()) == total, "{}: holds {} of {} scales, expected one file of each",
          where, files.size(), total);
  return files;
}

bool told_classes(const ScaleFile& file) {
  const auto conditioner = file.parameters.value("conditioner_config", json());
  if (conditioner.is_null()) return false;
  const auto target = conditioner.is_object() ? conditioner.value("target", json()) : json();
  const auto name = target.is_string() ? target.get<std::string>() : std::string();
  require(name.ends_with(".ClassProvider"), "{}: it is told what '{}' makes of its data, expected classes or nothing",
          file.where, printable(name));
  return true;
}

/// The probabilities that a cell has been kept by time 0, 1 .. T.
std::vector<double> kept_in(const ScaleFile& file) {
  const auto kept = file.alphas.cumprod(0).contiguous();
  const auto* values = kept.data_ptr<double>();
  require(values[0] == 1 && file.alphas.min().item<double>() >= 0 && file.alphas.max().item<double>() <= 1,
          "{}: alphats are {} at first and {} to {}, expected 1 and 0 to 1", file.where, values[0],
          file.alphas.min().item<double>(), file.alphas.max().item<double>());
  return {values, values + kept.size(0)};
}

ImportedCheckpoint run_image_bart(ImportSource& source) {
  const auto where = source.where();
  auto folder = source.path();
  if (!source.is_folder()) folder = folder.has_parent_path() ? folder.parent_path() : fs::path(".");
  const auto files = read_scales(scales_in(folder), source.options(), folder.string());
  const auto& first = files.front();
  ImportedCheckpoint imported;
  if (!first.first_stage.empty())
    imported.codec = import_taming_codec(
        first.first_stage, first.parameters.value(json::json_pointer("/first_stage_config/params"), json()),
        source.options(), first.where);

  auto& denoiser = imported.denoiser.emplace();
  ImageBartOptions options;
  const bool has_classes = told_classes(first);
  for (const auto& file : files) {
    options.scales.push_back(options_of(file, has_classes));
    const auto own = file.first_stage.find("quantize.embedding.weight");
    const auto shared = first.first_stage.find("quantize.embedding.weight");
    require(own == file.first_stage.end() || shared == first.first_stage.end() || own->second.equal(shared->second),
            "{}: of another codec than {}", file.where, first.where);
  }
  const char* head = first.has_encoder() ? "decoder.to_logits.weight" : "head.weight";
  options.codebook_size = needed(first.network, head, 2, first.where).size(0);
  if (has_classes) {
    // One table embeds classes and codes: a class is any of its rows.
    options.classes = options.scales.front().vocabulary;
    for (const auto& scale : options.scales) options.classes = std::min(options.classes, scale.vocabulary);
    denoiser.assumptions.push_back(fmt::format("{} classes, the rows of the table that embeds them", options.classes));
  }
  if (source.options().grid) {
    options.grid = {source.options().grid->first, source.options().grid->second};
  } else if (imported.codec && !imported.codec->image_size_assumed) {
    const auto halvings = imported.codec->config.at("block_out_channels").size() - 1;
    options.grid.h = options.grid.w =
        imported.codec->config.at("sample_size").get<std::int64_t>() >> std::min<std::size_t>(halvings, 20);
  } else {
    fail("{}: nothing says how many cells a picture has: give the grid (--grid)", where);
  }
  denoiser.config = options.to_config();
  const auto shapes = image_bart_shapes(options);
  for (const auto& file : files) {
    ShapeMap expected;
    const auto prefix = fmt::format("scales.{}.", file.time);
    for (const auto& [name, shape] : shapes) {
      if (name.starts_with(prefix)) expected[name.substr(prefix.size())] = shape;
    }
    const auto tensors = map_tensors(
        cut_to(file, expected), expected, file.has_encoder() ? source_in_encoder_decoder : source_in_decoder,
        [](const std::string& name) { return name.ends_with(".attn.mask") || name.starts_with("encoder.to_logits."); },
        file.where);
    for (const auto& [name, tensor] : tensors) denoiser.tensors[prefix + name] = tensor;
  }
  json sampling = {{"top_k", kPublishedTopK}};
  if (has_classes) sampling["guidance_scale"] = 1;  // no row was told no class
  denoiser.scheduler = {{"_class_name", "TesseraProcess"},
                        {"num_train_timesteps", options.total_steps()},
                        {"num_vec_classes", options.codebook_size + 1},
                        {"tessera",
                         {{"format", 1},
                          {"process", "uniform"},
                          {"total_steps", options.total_steps()},
                          {"kept", kept_in(first)},
                          {"sampling", sampling}}}};
  return imported;
}

ImporterEntry::Match recognises_image_bart(ImportSource& source) {
  if (source.is_folder())
    return scales_in(source.path()).empty() ? ImporterEntry::Match::none : ImporterEntry::Match::by_structure;
  const bool is_scale = source.tensors().contains("alphats") && has_prefix(source.tensors(), "transformer.");
  return is_scale ? ImporterEntry::Match::by_structure : ImporterEntry::Match::none;
}

}  // namespace

ImporterEntry image_bart_importer() {
  return {"imagebart", "ImageBART's checkpoints, the folder with one of each scale and their yaml files",
          recognises_image_bart, run_image_bart};
}

}  // namespace tessera
