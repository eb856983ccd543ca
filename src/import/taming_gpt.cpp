// Taming Transformers' second stage, Net2NetTransformer (Esser et al., arXiv:2012.09841): a GPT over the codec's codes
// in raster order, told a class or nothing. Key names: github.com/CompVis/taming-transformers,
// taming/models/cond_transformer.py and taming/modules/transformer/mingpt.py.
#include <cmath>

#include "checkpoint/tensor_mapping.h"
#include "denoiser/transformer.h"
#include "import/importers.h"
#include "import/mingpt.h"
#include "runtime/error.h"
#include "runtime/printable.h"

namespace tessera {
namespace {

using nlohmann::json;

constexpr const char *kGpt = "transformer.", *kFirstStage = "first_stage_model.";
constexpr const char* kTable = "transformer.tok_emb.weight";

/// What the first position holds: a class, or always the same token.
struct StartOfSequence {
  std::int64_t classes = 0;  // 0: none
  std::int64_t token = 0;    // without classes
};

/// The number at a path of the yaml; fallback where it is not there.
std::int64_t whole_at(const json& parameters, const char* path, std::optional<std::int64_t> fallback,
                      const std::string& where) {
  const json::json_pointer at(path);
  if (!parameters.contains(at)) {
    require(fallback.has_value(), "{}: its yaml lacks model.params{}", where, path);
    return *fallback;
  }
  require(parameters.at(at).is_number_integer(), "{}: model.params{} is {} in its yaml, expected an integer", where,
          path, parameters.at(at).dump(-1, ' ', false, json::error_handler_t::replace));
  return parameters.at(at).get<std::int64_t>();
}

/// "SOSProvider" of {"target": "taming.modules.util.SOSProvider"}.
std::string class_named(const json& config) {
  const auto target = config.is_object() ? config.value("target", json()) : config;
  const auto text = target.is_string() ? target.get<std::string>() : std::string();
  return text.substr(text.rfind('.') + 1);
}

StartOfSequence sequence_start(const json& parameters, const std::string& where) {
  StartOfSequence start;
  const auto stage = parameters.value("cond_stage_config", json());
  const auto kind = class_named(stage);
  if (kind == "Labelator") {
    start.classes = whole_at(parameters, "/cond_stage_config/params/n_classes", std::nullopt, where);
    require(start.classes > 0, "{}: {} classes in its yaml, expected one or more", where, start.classes);
    return start;
  }
  const auto unconditional = parameters.value("unconditional", json());
  require(kind == "SOSProvider" || kind == "__is_unconditional__" || unconditional == true,
          "{}: it is told what {} makes of a picture, expected classes (Labelator) or nothing", where,
          kind.empty() ? "its first stage" : printable(kind));
  start.token = whole_at(parameters, "/sos_token", 0, where);
  if (kind == "SOSProvider")
    start.token = whole_at(parameters, "/cond_stage_config/params/sos_token", start.token, where);
  return start;
}

Extent grid_of_gpt(const std::optional<ImportedCodec>& codec, std::int64_t positions, const ImportOptions& options,
                   std::vector<std::string>& assumptions, const std::string& where) {
  Extent grid{0, 0};
  if (options.grid) {
    grid = {options.grid->first, options.grid->second};
  } else if (codec && !codec->image_size_assumed) {
    const auto halvings = codec->config.at("block_out_channels").size() - 1;
    grid.h = grid.w = codec->config.at("sample_size").get<std::int64_t>() >> std::min<std::size_t>(halvings, 20);
  } else {
    grid.h = grid.w = std::llround(std::floor(std::sqrt(static_cast<double>(positions))));
    assumptions.push_back(fmt::format("a square grid of {0}x{0} cells (--grid HxW says otherwise)", grid.h));
  }
  require(grid.h > 0 && grid.w > 0 && grid.h <= positions && grid.cells() <= positions,
          "{}: a grid of {}x{} cells, expected at most its {} positions", where, grid.h, grid.w, positions);
  return grid;
}

/// The file's tensors cut and joined to what our transformer holds: the positions of the cells, and what starts a
/// sequence as tensors of their own. Class and code of a number share a row of the file's table.
TensorMap as_ours(const TensorMap& file, const TransformerOptions& sizes, const StartOfSequence& start,
                  const std::string& where) {
  auto result = file;
  const auto& table = needed(file, "tok_emb.weight", 2, where);
  result["pos_emb"] = needed(file, "pos_emb", 3, where).slice(1, 0, sizes.grid.cells()).contiguous();
  if (start.classes > 0) {
    require(start.classes <= table.size(0), "{}: {} classes, expected at most the {} rows of its table", where,
            start.classes, table.size(0));
    const auto own = table.slice(0, 0, start.classes);
    result["class_embedding.weight"] = torch::cat({own, own.mean(0, true)});  // no class: the mean of all
  } else {
    require(start.token >= 0 && start.token < table.size(0), "{}: sos_token is {}, expected 0 to {}", where,
            start.token, table.size(0) - 1);
    result["start_tok"] = table[start.token].view({1, 1, -1});
  }
  return result;
}

ImportedCheckpoint run_taming_gpt(ImportSource& source) {
  const auto where = source.where();
  const auto parameters = taming_config_of(source.path(), source.options(), "transformer_config");
  require(parameters.is_object() && parameters.contains("transformer_config"),
          "{}: heads and condition are in its yaml alone, which is not beside it (--config)", where);
  const auto permuter = class_named(parameters.value("permuter_config", json()));
  require(permuter.empty() || permuter == "Identity", "{}: cells in the order of {}, expected row by row", where,
          printable(permuter));

  ImportedCheckpoint imported;
  const auto& file = source.tensors();
  if (has_prefix(file, kFirstStage))
    imported.codec = import_taming_codec(strip_prefix(file, kFirstStage),
                                         parameters.value(json::json_pointer("/first_stage_config/params"), json()),
                                         source.options(), where);
  const auto gpt = strip_prefix(file, kGpt);
  const auto start = sequence_start(parameters, where);
  auto& denoiser = imported.denoiser.emplace();
  TransformerOptions sizes;
  sizes.kind = TransformerKind::autoregressive;
  sizes.codebook_size = needed(gpt, "head.weight", 2, where).size(0);
  sizes.width = needed(gpt, "head.weight", 2, where).size(1);
  sizes.layers = count_numbered(gpt, "blocks.");
  sizes.heads = source.options().heads.value_or(
      whole_at(parameters, "/transformer_config/params/n_head", source.options().heads, where));
  sizes.grid = grid_of_gpt(imported.codec, needed(gpt, "pos_emb", 3, where).size(1), source.options(),
                           denoiser.assumptions, where);
  sizes.classes = start.classes;
  sizes.class_starts = start.classes > 0;
  denoiser.config = sizes.to_config();
  denoiser.tensors = map_tensors(
      as_ours(gpt, sizes, start, where), transformer_shapes(sizes),
      [](const auto& native, const auto& shape) {
        return native == "class_embedding.weight" ? TensorSource{{native}, shape} : mingpt_source("", native, shape);
      },
      [](const std::string& name) { return name.ends_with(".attn.mask"); }, where);
  denoiser.scheduler = {
      {"_class_name", "TesseraProcess"},
      {"tessera", {{"format", 1}, {"process", "autoregressive"}, {"total_steps", sizes.grid.cells()}}}};
  // It was trained without guidance: no row of it was told no class.
  if (sizes.classes > 0) denoiser.scheduler["tessera"]["sampling"] = {{"guidance_scale", 1}};
  return imported;
}

}  // namespace

ImporterEntry taming_gpt_importer() {
  return {"taming-gpt", "Taming Transformers' GPT, told a class or nothing, with its codec",
          [](ImportSource& source) {
            const auto match = match_by(source, "transformer.blocks.");
            const bool whole = match == ImporterEntry::Match::whole && source.tensors().contains(kTable);
            return whole ? match : ImporterEntry::Match::none;
          },
          run_taming_gpt, true};
}

}  // namespace tessera
