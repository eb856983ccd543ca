#include "checkpoint/bundle.h"

#include <vector>

#include "checkpoint/bundle_record.h"
#include "checkpoint/hub_codec.h"
#include "checkpoint/sha256.h"
#include "checkpoint/state_dict.h"
#include "runtime/atomic_file.h"
#include "runtime/bounded_json.h"
#include "runtime/error.h"
#include "runtime/printable.h"
#include "runtime/shipped_files.h"

namespace tessera {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::uint64_t kMaxConfigBytes = 1 << 20;
constexpr std::uint64_t kMaxReadmeBytes = 4 << 20;
constexpr const char* kWeights = "diffusion_pytorch_model.safetensors";
constexpr const char* kNextWeights = "weights_next";  // of model_index.json, while they are being replaced
constexpr const char* kLearned = "learned_classifier_free_sampling_embeddings";

json read_config(const fs::path& path) {
  auto value = read_json_object(read_file(path, kMaxConfigBytes), path.string());
  if (const auto ours = value.find("tessera"); ours != value.end()) {
    require(ours->is_object(), "{}: field 'tessera' is no object", path.string());
    const auto format = ours->value("format", json(kBundleFormat));
    require(format.is_number_integer() && format.get<std::int64_t>() >= 1, "{}: tessera.format is no version number",
            path.string());
    require(format.get<std::int64_t>() <= kBundleFormat,
            "{}: format {}, this program reads up to {}: a newer one wrote it", path.string(),
            format.get<std::int64_t>(), kBundleFormat);
  }
  return value;
}

std::string config_text(const fs::path& path, const json& value) {
  try {
    return value.dump(2) + "\n";
  } catch (const json::exception&) {
    fail("{}: cannot be written: a text in it is no UTF-8", path.string());
  }
}

void write_config(const fs::path& path, const json& value) {
  write_file_atomically(path, config_text(path, value));
}

BundlePart read_codec(const fs::path& folder) {
  auto config = read_config(folder / "config.json");
  auto tensors = hub_codec_tensors(load_hub_weights(folder), config, folder.string());
  return {std::move(config), std::move(tensors)};
}

void require_part(const fs::path& folder, const char* part) {
  require(fs::is_directory(folder / part), "{}: model_index.json lists {}, but there is no such folder",
          folder.string(), part);
}

/// The hub gives the codec's sample_size in its own way; what the denoiser fills decides. aMUSEd's denoiser is told how
/// large its pictures are, which the codec decides.
void fit_codec_to_grid(Bundle& bundle) {
  auto& config = bundle.denoiser->config;
  const bool is_told_size = config.contains("micro_cond_encode_dim");
  if (!config.contains("num_vector_embeds") && !is_told_size) return;  // the hub's
  const auto levels = bundle.codec->config.value("block_out_channels", json::array()).size();
  if (levels < 1 || levels > 20) return;
  try {
    const auto patch = bundle.codec->config.value("tessera", json::object()).value("patch_size", std::int64_t{1});
    require(patch >= 1 && patch <= 8, "codec config: patch_size {}, expected one of 1, 2, 4, 8", patch);
    const auto factor = patch << (levels - 1);
    const auto own = config.value("tessera", json::object());
    const auto size = config.value("sample_size", json(0));
    const auto grid = own.contains("grid") ? own["grid"] : json::array({size, size});
    const auto side = std::max(grid.at(0).get<std::int64_t>(), grid.at(1).get<std::int64_t>());
    require(side >= 1 && side <= 65536, "transformer config: a grid of {} cells a side, expected 1 to 65536", side);
    bundle.codec->config["sample_size"] = side * factor;
    if (is_told_size && !own.contains("picture")) {
      config["tessera"]["picture"] = {grid.at(0).get<std::int64_t>() * factor, grid.at(1).get<std::int64_t>() * factor};
    }
  } catch (const json::exception& error) {
    fail("transformer config: {}", error.what());
  }
}

/// Whether the index lists a part as present: ["library", "Class"], not [null, null].
bool lists(const json& index, const char* part) {
  const auto found = index.find(part);
  return found != index.end() && found->is_array() && found->size() == 2 && !(*found)[1].is_null();
}

/// index.tessera.weights.<part>, if it is a text; of another list, that one's.
const std::string* recorded_hash(const json& index, const std::string& part, const char* list = "weights") {
  const auto* value = &index;
  for (const auto& field : {std::string("tessera"), std::string(list), part}) {
    if (!value->is_object() || !value->contains(field)) return nullptr;
    value = &(*value)[field];
  }
  return value->get_ptr<const std::string*>();
}

constexpr const char* kTokenizerFiles[] = {"vocab.json",
                                           "merges.txt",
                                           "tokenizer.json",
                                           "bpe_simple_vocab_16e6.txt.gz",
                                           "bpe_simple_vocab_16e6.txt",
                                           "tokenizer_config.json",
                                           "special_tokens_map.json"};

/// The files of a tokenizer, by name.
std::map<std::string, std::string> tokenizer_texts(const fs::path& folder) {
  std::map<std::string, std::string> texts;
  for (const char* name : kTokenizerFiles) {
    if (fs::exists(folder / name)) texts[name] = read_file(folder / name, 64 << 20);
  }
  return texts;
}

void write_tokenizer(const fs::path& folder, const std::map<std::string, std::string>& texts, json& index) {
  index["tokenizer"] = {"transformers", "CLIPTokenizer"};
  fs::create_directories(folder);
  for (const char* name : kTokenizerFiles) {
    const auto found = texts.find(name);
    if (found == texts.end()) {
      fs::remove(folder / name);  // of another tokenizer
    } else {
      write_file_atomically(folder / name, found->second);
    }
  }
}

/// fresh: nobody has written to the tensors since they were read: what has been looked at need not stay in memory.
std::string hash_of(const TensorMap& tensors, bool fresh) {
  Sha256 hash;
  for (const auto& [name, tensor] : tensors) {
    const auto stored = tensor.detach().to(torch::kCPU).contiguous();
    hash.update(fmt::format("{}\n{} {}\n", name, c10::toString(stored.scalar_type()), shape_text(stored)));
    const std::string_view bytes(static_cast<const char*>(stored.data_ptr()), stored.numel() > 0 ? stored.nbytes() : 0);
    if (fresh) {
      hash.update_and_give_back(bytes);
    } else {
      hash.update(bytes);
    }
  }
  return "sha256:" + hash.finish();
}

void verify_hash(const Bundle& bundle, const char* part, const std::optional<BundlePart>& held,
                 const fs::path& folder) {
  const auto* recorded = recorded_hash(bundle.index, part);
  if (!held || !recorded) return;
  const auto found = hash_of(held->tensors, true);
  // Weights that were being replaced when their writer was killed.
  const auto* next = recorded_hash(bundle.index, part, kNextWeights);
  require(*recorded == found || (next && next->find(found) != std::string::npos),
          "{}: the weights' hash is {}, model_index.json records {}: they were changed or damaged",
          (folder / part).string(), found, printable(*recorded));
}

/// Says in an index that is there which weights and configurations come next, before any is replaced: whichever are
/// found are known.
void announce_weights(const fs::path& folder, const json& hashes, const std::map<std::string, std::string>& texts) {
  const auto file = folder / "model_index.json";
  std::error_code code;
  if (!fs::exists(file, code)) return;
  auto index = json_or_discarded(read_file(file, kMaxConfigBytes));
  if (!index.is_object() || !index.contains("tessera") || !index["tessera"].is_object()) return;
  auto& next = index["tessera"][kNextWeights];
  if (!next.is_object()) next = json::object();
  for (const auto& [part, hash] : hashes.items()) {
    // What an earlier writer announced and did not come to record may be what lies there.
    const auto before = next.value(part, json(""));
    next[part] = before.is_string() && !before.get<std::string>().empty() && before != hash
                     ? json(before.get<std::string>() + " " + hash.get<std::string>())
                     : hash;
  }
  if (index["tessera"].contains("files")) announce_files(index, texts);
  write_file_atomically(file, index_text(index));
}

}  // namespace

Bundle load_bundle(const fs::path& model, BundleCheck check) {
  const auto folder = find_model(model);
  require(fs::is_directory(folder), "{}: no such model folder", folder.string());
  Bundle bundle;
  if (!fs::exists(folder / "model_index.json")) {
    require(fs::exists(folder / "config.json"), "{}: not a model folder: it holds no model_index.json",
            folder.string());
    bundle.codec = read_codec(folder);
    return bundle;
  }
  bundle.index = read_config(folder / "model_index.json");
  if (lists(bundle.index, "vqvae")) {
    require_part(folder, "vqvae");
    bundle.codec = read_codec(folder / "vqvae");
  }
  if (lists(bundle.index, "transformer")) {
    require_part(folder, "transformer");
    bundle.denoiser =
        BundlePart{read_config(folder / "transformer" / "config.json"), load_hub_weights(folder / "transformer")};
  }
  if (lists(bundle.index, "text_encoder")) {
    require_part(folder, "text_encoder");
    bundle.text_encoder = BundlePart{read_config(folder / "text_encoder" / "config.json"),
                                     load_hub_weights(folder / "text_encoder", {"model", "pytorch_model"})};
    require(lists(bundle.index, "tokenizer"), "{}: model_index.json lists a text_encoder without a tokenizer",
            folder.string());
  }
  if (lists(bundle.index, "tokenizer")) {  // without an encoder: of a denoiser that reads the words themselves
    require_part(folder, "tokenizer");
    bundle.tokenizer = folder / "tokenizer";
  }
  if (lists(bundle.index, kLearned)) {
    require_part(folder, kLearned);
    BundlePart part{read_config(folder / kLearned / "config.json"), {}};
    if (part.config.value("learnable", json(false)) == true) part.tensors = load_hub_weights(folder / kLearned);
    bundle.null_condition = std::move(part);
  }
  if (bundle.codec && bundle.denoiser) fit_codec_to_grid(bundle);
  if (lists(bundle.index, "scheduler")) {
    require_part(folder, "scheduler");
    // The hub calls this file scheduler_config.json.
    const auto native = folder / "scheduler" / "config.json";
    bundle.scheduler = read_config(fs::exists(native) ? native : folder / "scheduler" / "scheduler_config.json");
  }
  if (fs::exists(folder / "README.md")) bundle.readme = read_file(folder / "README.md", kMaxReadmeBytes);
  if (check != BundleCheck::none) {
    verify_hash(bundle, "vqvae", bundle.codec, folder);
    verify_hash(bundle, "transformer", bundle.denoiser, folder);
    verify_hash(bundle, "text_encoder", bundle.text_encoder, folder);
    verify_hash(bundle, kLearned, bundle.null_condition, folder);
  }
  if (check == BundleCheck::all) require_recorded(folder, bundle.index);
  return bundle;
}

Bundle load_bundle(const fs::path& folder, bool verify) {
  return load_bundle(folder, verify ? BundleCheck::all : BundleCheck::none);
}

void save_bundle(const fs::path& folder, const Bundle& bundle) {
  require(bundle.codec || bundle.denoiser, "{}: a model without codec and denoiser cannot be written", folder.string());
  json index = {{"_class_name", "TesseraPipeline"},
                {"tessera", {{"format", kBundleFormat}, {"weights", json::object()}}}};
  std::error_code code;
  const auto part_folder = [&](const char* part, const json& config, const char* fallback) {
    fs::create_directories(folder / part, code);
    require(!code, "{}: cannot be created: {}", (folder / part).string(), code.message());
    index[part] = {"tessera", config.value("_class_name", json(fallback))};
    write_config(folder / part / "config.json", config);
  };
  if (bundle.codec)
    match_parameters(bundle.codec->tensors, codec_parameter_shapes(bundle.codec->config), (folder / "vqvae").string());
  auto& hashes = index["tessera"]["weights"];
  const auto note_hash = [&](const char* part, const std::optional<BundlePart>& held) {
    if (held && (part != kLearned || !held->tensors.empty())) hashes[part] = content_hash(held->tensors);
  };
  note_hash("vqvae", bundle.codec);
  note_hash("transformer", bundle.denoiser);
  note_hash("text_encoder", bundle.text_encoder);
  note_hash(kLearned, bundle.null_condition);
  std::map<std::string, std::string> texts;
  const auto note_text = [&](const char* part, const json& config) {
    const auto name = std::string(part) + "/config.json";
    texts[name] = config_text(folder / name, config);
  };
  if (bundle.codec) note_text("vqvae", bundle.codec->config);
  if (bundle.denoiser) note_text("transformer", bundle.denoiser->config);
  if (bundle.text_encoder) note_text("text_encoder", bundle.text_encoder->config);
  if (bundle.null_condition) note_text(kLearned, bundle.null_condition->config);
  if (bundle.scheduler) note_text("scheduler", *bundle.scheduler);
  const auto words =
      bundle.tokenizer.empty() ? std::map<std::string, std::string>{} : tokenizer_texts(bundle.tokenizer);
  for (const auto& [name, text] : words) texts["tokenizer/" + name] = text;
  announce_weights(folder, hashes, texts);
  const auto write_part = [&](const char* part, const std::optional<BundlePart>& held, const char* fallback) {
    if (!held) return;
    part_folder(part, held->config, fallback);
    save_safetensors(folder / part / kWeights, held->tensors, {{"format", "pt"}});
  };
  write_part("vqvae", bundle.codec, "VQModel");
  write_part("transformer", bundle.denoiser, "Denoiser");
  write_part("text_encoder", bundle.text_encoder, "CLIPTextModel");
  if (bundle.text_encoder) {
    // The hub calls this file model.safetensors.
    fs::rename(folder / "text_encoder" / kWeights, folder / "text_encoder" / "model.safetensors", code);
    require(!code, "{}: cannot be renamed: {}", (folder / "text_encoder" / kWeights).string(), code.message());
  }
  if (bundle.null_condition && bundle.null_condition->tensors.empty()) {
    part_folder(kLearned, bundle.null_condition->config, "LearnedClassifierFreeSamplingEmbeddings");
  } else {
    write_part(kLearned, bundle.null_condition, "LearnedClassifierFreeSamplingEmbeddings");
  }
  if (!bundle.tokenizer.empty()) write_tokenizer(folder / "tokenizer", words, index);
  if (bundle.scheduler) part_folder("scheduler", *bundle.scheduler, "TesseraProcess");
  if (!bundle.readme.empty()) write_file_atomically(folder / "README.md", bundle.readme);
  record_files(index, folder);
  write_file_atomically(folder / "model_index.json", index_text(index));
}

std::string content_hash(const TensorMap& tensors) {
  return hash_of(tensors, false);
}

std::string part_hash(const Bundle& bundle, const std::string& part) {
  const auto& held = part == "vqvae"          ? bundle.codec
                     : part == "text_encoder" ? bundle.text_encoder
                     : part == kLearned       ? bundle.null_condition
                                              : bundle.denoiser;
  return held ? content_hash(held->tensors) : "";
}

}  // namespace tessera
