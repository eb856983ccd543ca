#include "import/importers.h"

#include <fmt/format.h>

#include "checkpoint/bounded_yaml.h"
#include "checkpoint/state_dict.h"
#include "checkpoint/tensor_mapping.h"
#include "codec/codec.h"
#include "denoiser/networks.h"
#include "runtime/atomic_file.h"
#include "runtime/error.h"
#include "runtime/printable.h"
#include "text/clip_text_encoder.h"

namespace tessera {

// A file each.
ImporterEntry halton_maskgit_importer();
ImporterEntry hub_amused_importer();
ImporterEntry hub_vqmodel_importer();
ImporterEntry image_bart_importer();
ImporterEntry llamagen_vq_importer();
ImporterEntry maskgit_vqgan_importer();
ImporterEntry taming_gpt_importer();
ImporterEntry taming_vqgan_importer();
ImporterEntry unleashing_absorbing_importer();
ImporterEntry unleashing_autoregressive_importer();
ImporterEntry unleashing_vqgan_importer();
ImporterEntry vq_diffusion_importer();
ImporterEntry vq_diffusion_vqvae_importer();

Registry<ImporterEntry>& importers() {
  static Registry<ImporterEntry> registry(
      "importer", {maskgit_vqgan_importer(), unleashing_vqgan_importer(), unleashing_absorbing_importer(),
                   unleashing_autoregressive_importer(), hub_amused_importer(), hub_vqmodel_importer(),
                   taming_vqgan_importer(), vq_diffusion_importer(), vq_diffusion_vqvae_importer(),
                   llamagen_vq_importer(), taming_gpt_importer(), image_bart_importer(), halton_maskgit_importer()});
  return registry;
}

namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::uint64_t kMaxSourceConfigBytes = 256 << 10;

void add_assumptions(ImportedCheckpoint& imported, const std::vector<std::string>& assumptions) {
  auto* target = imported.codec      ? &imported.codec->assumptions
                 : imported.denoiser ? &imported.denoiser->assumptions
                                     : nullptr;
  if (target) target->insert(target->begin(), assumptions.begin(), assumptions.end());
}

/// Builds the networks and loads what was imported into them: what a bundle of it would fail at is said now.
void try_networks(const ImportedCheckpoint& imported, const std::string& where) {
  if (imported.codec) {
    const UnsetParameters unset;
    Codec codec(codec_options_from_json(imported.codec->config));
    codec->load(imported.codec->tensors, where, WeightLoading::share);
  }
  if (imported.denoiser) {
    const auto& config = imported.denoiser->config;
    (void)network_of(config, where).load({config, imported.denoiser->tensors, where, WeightLoading::share});
  }
  if (imported.text) (void)load_text_encoder(imported.text->config, imported.text->tensors, where);
}

}  // namespace

ImportSource::ImportSource(fs::path path, const ImportOptions& options)
    : path_(std::move(path)), options_(options), is_folder_(fs::is_directory(path_)) {}

ImportSource::~ImportSource() = default;

/// What could not be read once is not tried again: every importer asks.
template <typename Read>
void ImportSource::read_once(bool& is_read, const Read& read) {
  if (unreadable_) std::rethrow_exception(unreadable_);
  if (is_read || is_folder_) return;
  try {
    read();
    is_read = true;
  } catch (const Error&) {
    unreadable_ = std::current_exception();
    throw;
  }
}

TorchArchive* ImportSource::archive() {
  read_once(has_archive_, [&] {
    if (looks_like_torch_archive(path_)) archive_ = std::make_unique<TorchArchive>(load_torch_archive(path_));
  });
  return archive_.get();
}

const TensorMap& ImportSource::dict(const std::string& name) {
  const auto [kept, asked_first] = dicts_.try_emplace(name);
  auto* file = asked_first ? archive() : nullptr;
  if (file == nullptr || file->root().kind() != ValueKind::dict) return kept->second;
  const auto held = file->root().find(name);
  if (held && held->kind() == ValueKind::dict) kept->second = file->tensors(name);
  return kept->second;
}

const TensorMap& ImportSource::tensors() {
  read_once(has_tensors_, [&] {
    auto state = load_state_dict(path_);
    tensors_ = std::move(state.tensors);
    assumptions_ = std::move(state.assumptions);
  });
  return tensors_;
}

std::optional<std::string> ImportSource::prefix_of(const std::string& sign) {
  if (has_prefix(tensors(), sign)) return "";
  for (const auto& [name, tensor] : tensors()) {
    const auto at = name.find("." + sign);
    if (at != std::string::npos) return name.substr(0, at + 1);
  }
  return std::nullopt;
}

std::optional<std::size_t> ImportSource::prefix_length(const std::string& sign) {
  const auto prefix = prefix_of(sign);
  return prefix ? std::optional(prefix->size()) : std::nullopt;
}

TensorMap ImportSource::tensors_at(const std::string& sign) {
  const auto prefix = prefix_of(sign).value_or("");
  if (prefix.empty()) return tensors();
  auto own = strip_prefix(tensors(), prefix);
  TensorMap others;
  for (const auto& [name, tensor] : tensors()) {
    if (!name.starts_with(prefix)) others.emplace(name, tensor);
  }
  assumptions_.push_back(fmt::format("the {} tensors under '{}'{}", own.size(), printable(prefix),
                                     others.empty() ? "" : "; left out: " + prefixes_text(others)));
  return own;
}

ImporterEntry::Match match_by(ImportSource& source, const std::string& sign) {
  if (source.is_folder()) return ImporterEntry::Match::none;
  const auto prefix = source.prefix_length(sign);
  if (!prefix) return ImporterEntry::Match::none;
  return *prefix == 0 ? ImporterEntry::Match::whole : ImporterEntry::Match::under_prefix;
}

json read_taming_config(const fs::path& path) {
  const auto text = read_file(path, kMaxSourceConfigBytes);
  const auto whole = read_yaml(text, path.string());
  require(
      whole.is_object() && whole.contains("model") && whole["model"].is_object() && whole["model"].contains("params"),
      "{}: no model.params in it", path.string());
  return whole["model"]["params"];
}

json taming_config_of(const fs::path& checkpoint, const ImportOptions& options, const std::string& field) {
  if (!options.config.empty()) return read_taming_config(options.config);
  const auto beside = checkpoint.has_parent_path() ? checkpoint.parent_path() : fs::path(".");
  for (const auto& folder : {beside, fs::absolute(beside).lexically_normal().parent_path() / "configs"}) {
    std::vector<json> found;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(folder, ignored)) {
      if (entry.path().extension() != ".yaml" && entry.path().extension() != ".yml") continue;
      try {
        auto parameters = read_taming_config(entry.path());
        if (!parameters.is_object() || !parameters.contains(field)) continue;
        if (entry.path().stem() == checkpoint.stem()) return parameters;
        found.push_back(std::move(parameters));
      } catch (const Error&) {
        continue;  // somebody else's yaml
      }
    }
    if (!found.empty()) return found.size() == 1 ? found.front() : json(nullptr);
  }
  return nullptr;
}

std::vector<std::string> importer_names() {
  return importers().names();
}

ImportedCheckpoint import_checkpoint(const fs::path& path, const ImportOptions& options) {
  ImportSource source(path, options);
  const ImporterEntry* best = nullptr;
  auto surest = ImporterEntry::Match::none;
  std::exception_ptr unreadable;  // by those who look for tensors; another may know the file
  for (const auto& entry : importers().entries()) {
    try {
      const auto match = entry.recognises(source);
      if (match <= surest) continue;
      surest = match;
      best = &entry;
    } catch (const Error&) {
      if (!unreadable) unreadable = std::current_exception();
    }
  }
  if (best == nullptr && unreadable) std::rethrow_exception(unreadable);
  if (best == nullptr && source.is_folder())
    fail("{}: a folder without config.json, expected a hub VQModel", source.where());
  if (best == nullptr)
    fail("{}: its {} tensors fit no importer: it holds {}; expected one of {}", source.where(), source.tensors().size(),
         prefixes_text(source.tensors()), fmt::join(importer_names(), ", "));
  auto imported = best->run(source);
  imported.importer = best->name;
  add_assumptions(imported, source.assumptions());
  try_networks(imported, source.where());
  return imported;
}

Bundle make_bundle(const std::optional<ImportedCodec>& codec, const std::optional<ImportedDenoiser>& denoiser,
                   const std::optional<ImportedText>& text) {
  Bundle bundle;
  if (codec) bundle.codec = BundlePart{codec->config, codec->tensors};
  if (denoiser) {
    bundle.denoiser = BundlePart{denoiser->config, denoiser->tensors};
    if (!denoiser->scheduler.is_null()) bundle.scheduler = denoiser->scheduler;
  }
  if (codec && denoiser) {
    const auto codes = codec->config.at("num_vq_embeddings").get<std::int64_t>();
    const auto network = network_facts(denoiser->config, "transformer");
    const auto tokens = network.codebook_size;
    require(codes == tokens, "the codec has {} codes, the denoiser {}: they do not belong together", codes, tokens);
    if (codec->image_size_assumed) {
      const auto halvings = codec->config.at("block_out_channels").size() - 1;
      bundle.codec->config["sample_size"] = std::max(network.grid.h, network.grid.w)
                                            << std::min<std::size_t>(halvings, 20);
    }
  }
  if (text) {
    bundle.text_encoder = BundlePart{text->config, text->tensors};
    const auto width = text->config.at("hidden_size"), length = text->config.at("max_position_embeddings");
    const bool learned = text->null_embedding.defined();
    bundle.null_condition = BundlePart{{{"_class_name", "LearnedClassifierFreeSamplingEmbeddings"},
                                        {"hidden_size", width},
                                        {"length", length},
                                        {"learnable", learned}},
                                       {}};
    if (learned) bundle.null_condition->tensors["embeddings"] = text->null_embedding;
    bundle.tokenizer = text->tokenizer;
  }
  return bundle;
}

}  // namespace tessera
