// The hub's VQModel: a folder, or a file beside its config.json.
#include "checkpoint/hub_codec.h"
#include "checkpoint/state_dict.h"
#include "import/importers.h"
#include "runtime/atomic_file.h"
#include "runtime/bounded_json.h"

namespace tessera {

using nlohmann::json;
namespace fs = std::filesystem;

ImportedCodec import_hub_codec(const TensorMap& file, const json& config, const std::string& where) {
  ImportedCodec codec;
  codec.config = config;
  codec.tensors = hub_codec_tensors(file, config, where);
  return codec;
}

namespace {

fs::path hub_folder(const fs::path& path) {
  return fs::exists(path / "vqvae" / "config.json") ? path / "vqvae" : path;
}

ImporterEntry::Match recognises_hub(ImportSource& source) {
  if (!source.is_folder()) return match_by(source, "encoder.down_blocks.");
  return fs::exists(hub_folder(source.path()) / "config.json") ? ImporterEntry::Match::by_structure
                                                               : ImporterEntry::Match::none;
}

json read_hub_config(const fs::path& path) {
  constexpr std::uint64_t kMost = 256 << 10;
  return read_json_object(read_file(path, kMost), path.string());
}

ImportedCheckpoint run_hub(ImportSource& source) {
  ImportedCheckpoint imported;
  if (source.is_folder()) {
    const auto folder = hub_folder(source.path());
    imported.codec =
        import_hub_codec(load_hub_weights(folder), read_hub_config(folder / "config.json"), folder.string());
    return imported;
  }
  const auto tensors = source.tensors_at("encoder.down_blocks.");
  const auto& given = source.options().config;
  const auto config = given.empty() ? fs::absolute(source.path()).parent_path() / "config.json" : given;
  imported.codec = import_hub_codec(tensors, read_hub_config(config), source.where());
  return imported;
}

}  // namespace

ImporterEntry hub_vqmodel_importer() {
  return {"hub-vqmodel", "the hub's VQModel, a folder or a file beside its config.json", recognises_hub, run_hub, true};
}

}  // namespace tessera
