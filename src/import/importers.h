/// Published checkpoints turned into native parts. Each importer takes a file's tensors and returns configs and tensors
/// under the native names; what the file does not carry is inferred from the tensors. Every tensor of a file is mapped,
/// known to be unneeded, or listed in one Error, with all that are missing. What comes out has been built and loaded as
/// a network. To add one: a file with its function and entry, and a line in importers.cpp.
#pragma once

#include <exception>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/bundle.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/torch_archive.h"
#include "runtime/registry.h"

namespace tessera {

/// What the user says about a checkpoint that its tensors do not.
struct ImportOptions {
  std::optional<std::int64_t> heads;                          // attention heads; unset: heads of 64, as in the paper
  std::optional<std::pair<std::int64_t, std::int64_t>> grid;  // [h, w] cells; unset: square
  std::optional<std::int64_t> image_size;   // pixels a side; unset: from the grid or the yaml, else 256
  std::optional<std::int64_t> total_steps;  // T of the absorbing process; unset: from the file, else the cells
  bool cut_bytes = false;                   // the codec's program cuts off fractions of bytes
  std::filesystem::path config;             // Taming's model.yaml; empty: what lies beside, or inferred
};

/// A codec under native names.
struct ImportedCodec {
  nlohmann::json config;                 // vqvae/config.json
  TensorMap tensors;                     // fit codec_parameter_shapes(config)
  TensorMap discriminator;               // main.N.*: not needed for inference; empty when the file has none
  bool image_size_assumed = false;       // nothing said how large the images are: sample_size is the paper's 256
  std::vector<std::string> assumptions;  // what else was assumed, one sentence each
};

/// A denoiser and its process under native names.
struct ImportedDenoiser {
  nlohmann::json config;     // transformer/config.json
  nlohmann::json scheduler;  // scheduler/config.json
  TensorMap tensors;         // fit the network of the config (denoiser/networks.h)
  TensorMap training;        // Lt_history, Lt_count, loss_history: the time sampler's state, where the file has it
  std::vector<std::string> assumptions;
};

/// A text encoder under the hub's names, with what stands for no text.
struct ImportedText {
  nlohmann::json config;            // text_encoder/config.json
  TensorMap tensors;                // names of the hub's CLIPTextModel
  torch::Tensor null_embedding;     // [P, C] float32; undefined: the empty prompt's states serve
  std::filesystem::path tokenizer;  // a folder with vocab.json and merges.txt; empty until the user names one
};

/// Unleashing Transformers' VQGAN (`vqgan_ema_N.th`), nearest or Gumbel quantiser. `where` begins error messages.
ImportedCodec import_unleashing_codec(const TensorMap& file, const ImportOptions& options, const std::string& where);
/// Unleashing Transformers' absorbing prior (`absorbing_ema_N.th`). L is known, the grid is square unless options.grid.
ImportedDenoiser import_unleashing_absorbing(const TensorMap& file, const ImportOptions& options,
                                             const std::string& where);
/// Unleashing Transformers' autoregressive prior (`autoregressive_ema_N.th`).
ImportedDenoiser import_unleashing_autoregressive(const TensorMap& file, const ImportOptions& options,
                                                  const std::string& where);
/// Taming Transformers' VQModel, EMAVQ or GumbelVQ state dict. In: the yaml's model.params (may be null: inferred, the
/// resolution assumed). Throws Error where the yaml and the tensors disagree.
ImportedCodec import_taming_codec(const TensorMap& file, const nlohmann::json& parameters, const ImportOptions& options,
                                  const std::string& where);
/// The hub's VQModel, with old (query, key, value, proj_attn) or new (to_q ...) attention names. In: its config.json.
ImportedCodec import_hub_codec(const TensorMap& file, const nlohmann::json& config, const std::string& where);

/// VQ-Diffusion's own checkpoints (github.com/microsoft/VQ-Diffusion): the denoiser of its `ema`, the codec inside,
/// CLIP's text encoder or class labels. In: the tensors of `model` and of `ema` (may be empty: then `model` serves),
/// the yaml's model.params (may be null).
struct ImportedVqDiffusion {
  std::optional<ImportedCodec> codec;
  ImportedDenoiser denoiser;
  std::optional<ImportedText> text;
};
ImportedVqDiffusion import_vq_diffusion(const TensorMap& model, const TensorMap& ema, const nlohmann::json& parameters,
                                        const ImportOptions& options, const std::string& where);
/// Its image codec, as its own checkpoint (ithq_vqvae.pth) has it.
ImportedCodec import_vq_diffusion_codec(const TensorMap& file, const ImportOptions& options, const std::string& where);

/// LlamaGen's image tokenizer: attention at the coarsest level, latents and codes of unit length.
ImportedCodec import_llamagen_codec(const TensorMap& file, const ImportOptions& options, const std::string& where);

/// What a path held.
struct ImportedCheckpoint {
  std::string importer;  // the name of its entry
  std::optional<ImportedCodec> codec;
  std::optional<ImportedDenoiser> denoiser;
  std::optional<ImportedText> text;
};

/// A file or folder that importers are asked about; read once, by whoever asks first.
class ImportSource {
 public:
  ImportSource(std::filesystem::path path, const ImportOptions& options);
  ~ImportSource();
  ImportSource(const ImportSource&) = delete;
  ImportSource& operator=(const ImportSource&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::string where() const { return path_.string(); }
  const ImportOptions& options() const { return options_; }
  bool is_folder() const { return is_folder_; }
  /// The file as torch.save wrote it; null where it is another.
  TorchArchive* archive();
  /// The tensors of a dict at the top of that archive; empty: there is none of that name.
  const TensorMap& dict(const std::string& name);
  /// The file's tensors, wherever they lie in it. Throws Error where there are none.
  const TensorMap& tensors();
  /// Those under the prefix before names that begin with `sign` ("first_stage_model."), without it.
  TensorMap tensors_at(const std::string& sign);
  /// The length of that prefix; nothing: no name begins so.
  std::optional<std::size_t> prefix_length(const std::string& sign);
  /// What was assumed while reading, one sentence each.
  const std::vector<std::string>& assumptions() const { return assumptions_; }

 private:
  std::optional<std::string> prefix_of(const std::string& sign);
  template <typename Read>
  void read_once(bool& is_read, const Read& read);

  std::filesystem::path path_;
  ImportOptions options_;
  bool is_folder_;
  std::unique_ptr<TorchArchive> archive_;
  bool has_archive_ = false, has_tensors_ = false;
  std::exception_ptr unreadable_;
  std::map<std::string, TensorMap> dicts_;  // of the archive, those that were asked for
  TensorMap tensors_;
  std::vector<std::string> assumptions_;
};

struct ImporterEntry {
  /// How surely a source is the importer's: the greatest imports it, of equals the first in the registry.
  enum class Match { none, under_prefix, whole, by_structure };

  std::string name, help;  // one line: what it reads
  Match (*recognises)(ImportSource& source) = nullptr;
  ImportedCheckpoint (*run)(ImportSource& source) = nullptr;
  bool takes_config = false;  // ImportOptions::config
};

Registry<ImporterEntry>& importers();

/// For recognises: by names that begin with `sign`, at the top or under a prefix.
ImporterEntry::Match match_by(ImportSource& source, const std::string& sign);

/// unleashing-vqgan, unleashing-absorbing, unleashing-autoregressive, hub-vqmodel, taming-vqgan, vq-diffusion,
/// vq-diffusion-vqvae ..
std::vector<std::string> importer_names();

/// Reads a checkpoint file (.th, .ckpt, .pth, .bin, .safetensors) or a hub folder and imports it with the importer
/// that recognises it. Throws Error that says what it holds and lists the importers when none does.
ImportedCheckpoint import_checkpoint(const std::filesystem::path& path, const ImportOptions& options = {});

/// One bundle of what importers returned. Where the codec's image size was only assumed, the denoiser's grid decides
/// it. Throws Error when the two do not belong together (another number of codes).
Bundle make_bundle(const std::optional<ImportedCodec>& codec, const std::optional<ImportedDenoiser>& denoiser,
                   const std::optional<ImportedText>& text = std::nullopt);

/// A Taming yaml as JSON (model.params of it). Numbers and booleans become such.
nlohmann::json read_taming_config(const std::filesystem::path& path);

/// The parameters of the yaml that belongs to a checkpoint: of the one given (ImportOptions::config), else of the one
/// of the checkpoint's name, else of the only one beside it or in configs/ beside its folder, where Lightning puts it.
/// Only those that have this field count. Null: none, or several.
nlohmann::json taming_config_of(const std::filesystem::path& checkpoint, const ImportOptions& options,
                                const std::string& field);

}  // namespace tessera
