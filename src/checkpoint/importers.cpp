#include "checkpoint/importers.h"

#include <fmt/format.h>

#include "checkpoint/bounded_yaml.h"
#include "checkpoint/state_dict.h"
#include "checkpoint/tensor_mapping.h"
#include "checkpoint/torch_archive.h"
#include "runtime/atomic_file.h"
#include "runtime/bounded_json.h"
#include "runtime/error.h"
#include "runtime/printable.h"

namespace tessera {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::uint64_t kMaxSourceConfigBytes = 256 << 10;

struct Importer {
  const char* name;
  const char* sign;  // a prefix that only this layout has
};

constexpr Importer kImporters[] = {{"unleashing-vqgan", "ae.encoder.blocks."},
                                   {"unleashing-absorbing", "_denoise_fn."},
                                   {"unleashing-autoregressive", "net.blocks."},
                                   {"hub-vqmodel", "encoder.down_blocks."},
                                   {"taming-vqgan", "encoder.down."},
                                   {"vq-diffusion", "transformer.transformer.blocks."},
                                   {"vq-diffusion-vqvae", "quantize.embedding_avg"}};

/// VQ-Diffusion keeps its tensors under `model` and `ema`. Nothing where the file is another.
std::optional<ImportedCheckpoint> import_original_vq_diffusion(const fs::path& path, const ImportOptions& options) {
  if (!looks_like_torch_archive(path)) return std::nullopt;
  const auto archive = load_torch_archive(path);
  const auto root = archive.root();
  if (root.kind() != ValueKind::dict) return std::nullopt;
  const auto held = root.find("model");
  if (!held || held->kind() != ValueKind::dict) return std::nullopt;
  const auto model = archive.tensors("model");
  ImportedCheckpoint imported;
  const auto where = path.string();
  if (has_prefix(model, "transformer.transformer.blocks.")) {
    const auto averaged = root.find("ema");
    const auto ema = averaged && averaged->kind() == ValueKind::dict ? archive.tensors("ema") : TensorMap();
    auto config = options.config;
    const auto beside = fs::absolute(path).parent_path() / "config.yaml";
    if (config.empty() && fs::exists(beside)) config = beside;
    imported.importer = "vq-diffusion";
    auto parts = import_vq_diffusion(model, ema, config.empty() ? json() : read_taming_config(config), options, where);
    imported.codec = std::move(parts.codec);
    imported.denoiser = std::move(parts.denoiser);
    imported.text = std::move(parts.text);
    return imported;
  }
  if (has_prefix(model, "encoder.down.") && model.contains("quantize.embedding")) {
    imported.importer = "vq-diffusion-vqvae";
    imported.codec = import_vq_diffusion_codec(model, options, where);
    return imported;
  }
  return std::nullopt;
}

/// The prefix before the names of an importer's tensors ("first_stage_model."); nothing: they are not there.
std::optional<std::string> prefix_of(const TensorMap& tensors, const std::string& sign) {
  if (has_prefix(tensors, sign)) return "";
  for (const auto& [name, tensor] : tensors) {
    const auto at = name.find("." + sign);
    if (at != std::string::npos) return name.substr(0, at + 1);
  }
  return std::nullopt;
}

/// The tensors under a prefix, without it; says so, and what is left.
TensorMap under_prefix(const TensorMap& tensors, const std::string& prefix, std::vector<std::string>& assumptions) {
  if (prefix.empty()) return tensors;
  auto own = strip_prefix(tensors, prefix);
  TensorMap others;
  for (const auto& [name, tensor] : tensors) {
    if (!name.starts_with(prefix)) others.emplace(name, tensor);
  }
  assumptions.push_back(fmt::format("the {} tensors under '{}'{}", own.size(), printable(prefix),
                                    others.empty() ? "" : "; left out: " + prefixes_text(others)));
  return own;
}

void add_assumptions(ImportedCheckpoint& imported, const std::vector<std::string>& assumptions) {
  auto* target = imported.codec      ? &imported.codec->assumptions
                 : imported.denoiser ? &imported.denoiser->assumptions
                                     : nullptr;
  if (target) target->insert(target->begin(), assumptions.begin(), assumptions.end());
}

json read_json(const fs::path& path) {
  return read_json_object(read_file(path, kMaxSourceConfigBytes), path.string());
}

/// The yaml that belongs to a Taming checkpoint: the one given, else the only one beside it that describes a codec.
json taming_parameters(const fs::path& checkpoint, const ImportOptions& options) {
  if (!options.config.empty()) return read_taming_config(options.config);
  std::vector<json> found;
  std::error_code ignored;
  const auto folder = checkpoint.has_parent_path() ? checkpoint.parent_path() : fs::path(".");
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    if (entry.path().extension() != ".yaml" && entry.path().extension() != ".yml") continue;
    try {
      auto parameters = read_taming_config(entry.path());
      if (parameters.is_object() && parameters.contains("ddconfig")) found.push_back(std::move(parameters));
    } catch (const Error&) {
      continue;  // somebody else's yaml
    }
  }
  return found.size() == 1 ? found.front() : json(nullptr);
}

}  // namespace

json read_taming_config(const fs::path& path) {
  const auto text = read_file(path, kMaxSourceConfigBytes);
  const auto whole = read_yaml(text, path.string());
  require(
      whole.is_object() && whole.contains("model") && whole["model"].is_object() && whole["model"].contains("params"),
      "{}: no model.params in it", path.string());
  return whole["model"]["params"];
}

std::vector<std::string> importer_names() {
  std::vector<std::string> names;
  for (const auto& importer : kImporters) names.emplace_back(importer.name);
  return names;
}

ImportedCheckpoint import_checkpoint(const fs::path& path, const ImportOptions& options) {
  ImportedCheckpoint imported;
  if (fs::is_directory(path)) {
    const auto folder = fs::exists(path / "vqvae" / "config.json") ? path / "vqvae" : path;
    require(fs::exists(folder / "config.json"), "{}: a folder without config.json, expected a hub VQModel",
            path.string());
    imported.importer = "hub-vqmodel";
    imported.codec = import_hub_codec(load_hub_weights(folder), read_json(folder / "config.json"), folder.string());
    return imported;
  }
  if (auto original = import_original_vq_diffusion(path, options)) return std::move(*original);
  auto state = load_state_dict(path);
  const auto where = path.string();
  for (const bool with_prefix : {false, true}) {
    for (const auto& importer : kImporters) {
      const std::string name = importer.name;
      const auto prefix = prefix_of(state.tensors, importer.sign);
      if (!prefix || prefix->empty() == with_prefix || name.starts_with("vq-diffusion")) continue;
      const auto tensors = under_prefix(state.tensors, *prefix, state.assumptions);
      imported.importer = name;
      if (name == "unleashing-vqgan") {
        imported.codec = import_unleashing_codec(tensors, options, where);
      } else if (name == "unleashing-absorbing") {
        imported.denoiser = import_unleashing_absorbing(tensors, options, where);
      } else if (name == "unleashing-autoregressive") {
        imported.denoiser = import_unleashing_autoregressive(tensors, options, where);
      } else if (name == "taming-vqgan") {
        imported.codec = import_taming_codec(tensors, taming_parameters(path, options), options, where);
      } else {
        const auto config = options.config.empty() ? fs::absolute(path).parent_path() / "config.json" : options.config;
        imported.codec = import_hub_codec(tensors, read_json(config), where);
      }
      add_assumptions(imported, state.assumptions);
      return imported;
    }
  }
  fail("{}: its {} tensors fit no importer: it holds {}; expected one of {}", where, state.tensors.size(),
       prefixes_text(state.tensors), fmt::join(importer_names(), ", "));
}

}  // namespace tessera
