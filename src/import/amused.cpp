// aMUSEd of the hub: a pipeline's folder, its transformer's folder, or the transformer's file beside its config.json.
#include "checkpoint/state_dict.h"
#include "denoiser/uvit.h"
#include "import/importers.h"
#include "runtime/atomic_file.h"
#include "runtime/bounded_json.h"
#include "runtime/error.h"

namespace tessera {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr const char* kUVitClass = "UVit2DModel";
constexpr const char* kUVitSign = "down_block.res_blocks.";  // its tensors' names begin so, and nobody else's

json read_part_config(const fs::path& path) {
  constexpr std::uint64_t kMost = 256 << 10;
  return read_json_object(read_file(path, kMost), path.string());
}

bool is_uvit(const fs::path& folder) {
  const auto file = folder / "config.json";
  return fs::exists(file) && read_part_config(file).value("_class_name", json()) == kUVitClass;
}

ImporterEntry::Match recognises_amused(ImportSource& source) {
  if (!source.is_folder()) return match_by(source, kUVitSign);
  return is_uvit(source.path()) || is_uvit(source.path() / "transformer") ? ImporterEntry::Match::by_structure
                                                                          : ImporterEntry::Match::none;
}

/// Throws one Error that names all that a pipeline's folder lacks.
void require_pipeline(const fs::path& folder) {
  std::vector<std::string> missing;
  for (const char* part : {"vqvae/config.json", "text_encoder/config.json", "tokenizer/", "scheduler/"}) {
    if (!fs::exists(folder / part)) missing.emplace_back(part);
  }
  require(missing.empty(), "{}: an aMUSEd pipeline without {}", folder.string(), fmt::join(missing, ", "));
}

ImportedDenoiser denoiser_of(const TensorMap& tensors, const json& config, const std::string& where) {
  ImportedDenoiser denoiser;
  match_network<UVit>(UVitOptions::from_config(config), tensors, where);
  denoiser.config = config;
  denoiser.tensors = tensors;
  return denoiser;
}

/// The pixels of a grid, which the network is told, as the codec makes them.
void tell_picture(ImportedDenoiser& denoiser, ImportedCodec& codec) {
  auto options = UVitOptions::from_config(denoiser.config);
  const auto halvings = codec.config.at("block_out_channels").size() - 1;
  require(halvings < 16, "aMUSEd's codec: {} levels, expected at most 16", halvings + 1);
  options.picture = {options.grid.h << halvings, options.grid.w << halvings};
  codec.config["sample_size"] = std::max(options.picture.h, options.picture.w);
  denoiser.config = options.to_config();
}

ImportedText text_of(const fs::path& folder) {
  ImportedText text;
  text.config = read_part_config(folder / "text_encoder" / "config.json");
  if (!text.config.contains("max_position_embeddings")) text.config["max_position_embeddings"] = 77;
  text.tensors = load_hub_weights(folder / "text_encoder", {"model", "pytorch_model"});
  text.tensors.erase("text_model.embeddings.position_ids");
  text.tokenizer = folder / "tokenizer";
  return text;
}

ImportedCheckpoint run_amused_import(ImportSource& source) {
  ImportedCheckpoint imported;
  const auto& path = source.path();
  if (!source.is_folder()) {
    const auto& given = source.options().config;
    const auto config = given.empty() ? fs::absolute(path).parent_path() / "config.json" : given;
    imported.denoiser = denoiser_of(source.tensors_at(kUVitSign), read_part_config(config), source.where());
    return imported;
  }
  const bool alone = is_uvit(path);
  const auto transformer = alone ? path : path / "transformer";
  if (!alone) require_pipeline(path);
  imported.denoiser =
      denoiser_of(load_hub_weights(transformer), read_part_config(transformer / "config.json"), transformer.string());
  if (alone) return imported;
  const auto scheduler = path / "scheduler";
  imported.denoiser->scheduler = read_part_config(
      fs::exists(scheduler / "config.json") ? scheduler / "config.json" : scheduler / "scheduler_config.json");
  imported.codec = import_hub_codec(load_hub_weights(path / "vqvae"), read_part_config(path / "vqvae" / "config.json"),
                                    (path / "vqvae").string());
  tell_picture(*imported.denoiser, *imported.codec);
  imported.text = text_of(path);
  return imported;
}

}  // namespace

ImporterEntry hub_amused_importer() {
  return {"hub-amused", "aMUSEd of the hub, a pipeline's folder or its transformer beside its config.json",
          recognises_amused, run_amused_import, true};
}

}  // namespace tessera
