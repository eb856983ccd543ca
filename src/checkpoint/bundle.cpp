#include "checkpoint/bundle.h"

#include <vector>

#include "checkpoint/printable.h"
#include "checkpoint/sha256.h"
#include "checkpoint/torch_archive.h"
#include "runtime/atomic_file.h"
#include "runtime/error.h"

namespace tessera {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::uint64_t kMaxConfigBytes = 1 << 20;
constexpr std::uint64_t kMaxReadmeBytes = 4 << 20;
constexpr const char* kWeights = "diffusion_pytorch_model.safetensors";
constexpr const char* kHubWeights = "diffusion_pytorch_model.bin";

json read_config(const fs::path& path) {
  auto value = json::parse(read_file(path, kMaxConfigBytes), nullptr, false);
  require(value.is_object(), "{}: not a JSON object", path.string());
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

void write_config(const fs::path& path, const json& value) {
  try {
    write_file_atomically(path, value.dump(2) + "\n");
  } catch (const json::exception&) {
    fail("{}: cannot be written: a text in it is no UTF-8", path.string());
  }
}

TensorMap read_weights(const fs::path& folder) {
  if (fs::exists(folder / kWeights)) return load_safetensors(folder / kWeights);
  if (fs::exists(folder / kHubWeights)) return load_torch_archive(folder / kHubWeights).tensors();
  fail("{}: holds neither {} nor {}", folder.string(), kWeights, kHubWeights);
}

BundlePart read_codec(const fs::path& folder) {
  auto codec = import_hub_codec(read_weights(folder), read_config(folder / "config.json"), folder.string());
  return {std::move(codec.config), std::move(codec.tensors)};
}

bool is_native_denoiser(const json& config) {
  return config.value("_class_name", json()) == "TesseraTransformer";
}

void check_denoiser(const BundlePart& part, const std::string& where) {
  if (!is_native_denoiser(part.config)) return;
  try {
    match_parameters(part.tensors, denoiser_parameter_shapes(part.config), "tensors");
  } catch (const Error& error) {
    fail("{}: {}", where, error.what());
  }
}

/// Whether the index lists a part as present: ["library", "Class"], not [null, null].
bool lists(const json& index, const char* part) {
  const auto found = index.find(part);
  return found != index.end() && found->is_array() && found->size() == 2 && !(*found)[1].is_null();
}

void verify_hash(const Bundle& bundle, const char* part, const std::optional<BundlePart>& held,
                 const fs::path& folder) {
  if (!held) return;
  const auto recorded = part_hash(bundle, part);
  const auto found = content_hash(held->tensors);
  require(recorded == found, "{}: the weights' hash is {}, model_index.json records {}", (folder / part).string(),
          found, recorded);
}

}  // namespace

Bundle load_bundle(const fs::path& folder, bool verify) {
  require(fs::is_directory(folder), "{}: no such model folder", folder.string());
  Bundle bundle;
  if (!fs::exists(folder / "model_index.json")) {
    require(fs::exists(folder / "config.json"), "{}: not a model folder: it holds no model_index.json",
            folder.string());
    bundle.codec = read_codec(folder);
    return bundle;
  }
  bundle.index = read_config(folder / "model_index.json");
  if (lists(bundle.index, "vqvae")) bundle.codec = read_codec(folder / "vqvae");
  if (lists(bundle.index, "transformer")) {
    bundle.denoiser =
        BundlePart{read_config(folder / "transformer" / "config.json"), read_weights(folder / "transformer")};
    check_denoiser(*bundle.denoiser, (folder / "transformer").string());
  }
  if (lists(bundle.index, "scheduler")) {
    // The hub calls this file scheduler_config.json.
    const auto native = folder / "scheduler" / "config.json";
    bundle.scheduler = read_config(fs::exists(native) ? native : folder / "scheduler" / "scheduler_config.json");
  }
  if (fs::exists(folder / "README.md")) bundle.readme = read_file(folder / "README.md", kMaxReadmeBytes);
  if (verify) {
    verify_hash(bundle, "vqvae", bundle.codec, folder);
    verify_hash(bundle, "transformer", bundle.denoiser, folder);
  }
  return bundle;
}

void save_bundle(const fs::path& folder, const Bundle& bundle) {
  require(bundle.codec || bundle.denoiser, "{}: a model without codec and denoiser cannot be written", folder.string());
  json index = {{"_class_name", "TesseraPipeline"},
                {"tessera", {{"format", kBundleFormat}, {"weights", json::object()}}}};
  std::error_code code;
  const auto part_folder = [&](const char* part, const json& config, const char* fallback) {
    fs::create_directories(folder / part, code);
    require(!code, "{}: cannot be created: {}", (folder / part).string(), code.message());
    index[part] = {"tessera", config.value("_class_name", std::string(fallback))};
    write_config(folder / part / "config.json", config);
  };
  if (bundle.codec)
    match_parameters(bundle.codec->tensors, codec_parameter_shapes(bundle.codec->config), (folder / "vqvae").string());
  if (bundle.denoiser) check_denoiser(*bundle.denoiser, (folder / "transformer").string());
  const auto write_part = [&](const char* part, const std::optional<BundlePart>& held, const char* fallback) {
    if (!held) return;
    part_folder(part, held->config, fallback);
    save_safetensors(folder / part / kWeights, held->tensors, {{"format", "pt"}});
    index["tessera"]["weights"][part] = content_hash(held->tensors);
  };
  write_part("vqvae", bundle.codec, "VQModel");
  write_part("transformer", bundle.denoiser, "TesseraTransformer");
  if (bundle.scheduler) part_folder("scheduler", *bundle.scheduler, "TesseraProcess");
  if (!bundle.readme.empty()) write_file_atomically(folder / "README.md", bundle.readme);
  write_config(folder / "model_index.json", index);
}

std::string content_hash(const TensorMap& tensors) {
  Sha256 hash;
  for (const auto& [name, tensor] : tensors) {
    const auto stored = tensor.detach().to(torch::kCPU).contiguous();
    hash.update(fmt::format("{}\n{} {}\n", name, c10::toString(stored.scalar_type()), shape_text(stored)));
    if (stored.numel() > 0) hash.update({static_cast<const char*>(stored.data_ptr()), stored.nbytes()});
  }
  return "sha256:" + hash.finish();
}

std::string part_hash(const Bundle& bundle, const std::string& part) {
  const auto recorded = bundle.index.value(json::json_pointer("/tessera/weights/" + part), json());
  if (recorded.is_string()) return recorded.get<std::string>();
  const auto& held = part == "vqvae" ? bundle.codec : bundle.denoiser;
  return held ? content_hash(held->tensors) : "";
}

Bundle make_bundle(const std::optional<ImportedCodec>& codec, const std::optional<ImportedDenoiser>& denoiser) {
  Bundle bundle;
  if (codec) bundle.codec = BundlePart{codec->config, codec->tensors};
  if (denoiser) {
    bundle.denoiser = BundlePart{denoiser->config, denoiser->tensors};
    bundle.scheduler = denoiser->scheduler;
  }
  if (codec && denoiser) {
    const auto codes = codec->config.at("num_vq_embeddings").get<std::int64_t>();
    const auto tokens = denoiser->config.at("tessera").at("codebook_size").get<std::int64_t>();
    require(codes == tokens, "the codec has {} codes, the denoiser {}: they do not belong together", codes, tokens);
  }
  return bundle;
}

}  // namespace tessera
