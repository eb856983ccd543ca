/// A model on disk: a folder in the hub's layout (docs: DESIGN, "A model on disk").
///   model_index.json; vqvae/, transformer/: config.json and diffusion_pytorch_model.safetensors;
///   scheduler/config.json; README.md
/// and, of models that take text: text_encoder/, tokenizer/, learned_classifier_free_sampling_embeddings/
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "checkpoint/parameter_shapes.h"
#include "checkpoint/safetensors.h"

namespace tessera {

/// The newest version of the layout that this program writes and reads.
inline constexpr int kBundleFormat = 1;

/// One part: its config and weights under native names.
struct BundlePart {
  nlohmann::json config;
  TensorMap tensors;
};

/// The parts of a model; each may be absent.
struct Bundle {
  nlohmann::json index;                     // model_index.json as it was read; save_bundle writes its own
  std::optional<BundlePart> codec;          // vqvae/
  std::optional<BundlePart> denoiser;       // transformer/
  std::optional<nlohmann::json> scheduler;  // scheduler/config.json
  std::optional<BundlePart> text_encoder;   // text_encoder/
  // learned_classifier_free_sampling_embeddings/: `embeddings` [P, C] if learnable; none where the empty prompt serves.
  std::optional<BundlePart> null_condition;
  std::filesystem::path tokenizer;  // tokenizer/ where it was read; save_bundle copies its files. Empty: none
  std::string readme;               // README.md, the model card; empty: none
};

/// Reads a bundle: the parts that model_index.json lists, with weights mapped from the files. Also reads a hub
/// pipeline (a VQModel's old attention names are renamed; weights as .safetensors or .bin, in full or half precision)
/// and a bare codec folder (config.json beside its weights).
/// Native parts are checked against their configs. Throws Error naming the file: missing parts, a newer format, tensors
/// that do not fit, weights whose content hash differs from the one that model_index.json records.
Bundle load_bundle(const std::filesystem::path& folder, bool verify = true);

/// Writes the parts given (each file atomically, model_index.json last) and lists exactly these in model_index.json.
/// Parts are checked against their configs first. Other files of the folder stay. A process that is killed meanwhile
/// leaves parts that load, each the old one or the new one; for all or nothing see write_folder_whole.
void save_bundle(const std::filesystem::path& folder, const Bundle& bundle);

/// "sha256:<64 hexadecimal digits>" of names, types, shapes and contents, whatever the order, file or device they come
/// from.
std::string content_hash(const TensorMap& tensors);

/// The content hash of a part's tensors ("vqvae", "transformer", "text_encoder"), whatever model_index.json records;
/// empty when the bundle lacks the part. Names what a cache of tokens was made with.
std::string part_hash(const Bundle& bundle, const std::string& part);

}  // namespace tessera
