#include "server/model_store.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "checkpoint/safetensors_header.h"
#include "codec/codec_options.h"
#include "denoiser/class_names.h"
#include "prior/prior.h"
#include "runtime/atomic_file.h"
#include "runtime/bounded_json.h"
#include "runtime/error.h"
#include "runtime/log.h"
#include "runtime/shipped_files.h"
#include "sampling/registry.h"
#include "server/http_message.h"

namespace tessera::server {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::uint64_t kMaxConfigBytes = 1 << 20, kMaxHeaderBytes = 100 << 20;

json config_of(const fs::path& path) {
  return read_json_object(read_file(path, kMaxConfigBytes), path.string());
}

/// Bytes of a file's tensors as float32, which is how weights are held; of another format the file's own size.
std::uint64_t float_bytes(const fs::path& file) {
  const auto size = fs::file_size(file);
  if (file.extension() != ".safetensors" || size < 8) return size;
  std::ifstream stream(file, std::ios::binary);
  std::uint64_t length = 0;
  stream.read(reinterpret_cast<char*>(&length), sizeof(length));
  require(stream.good() && length <= std::min<std::uint64_t>(kMaxHeaderBytes, size - 8), "{}: header too long",
          file.string());
  std::string header(length, '\0');
  stream.read(header.data(), static_cast<std::streamsize>(length));
  require(stream.good(), "{}: ends in its header", file.string());
  std::uint64_t bytes = 0;
  for (const auto& entry : parse_safetensors_header(header, size - 8 - length, file.string(), nullptr)) {
    bytes += (entry.end - entry.begin) / c10::elementSize(entry.type) * sizeof(float);
  }
  return bytes;
}

std::uint64_t weight_bytes(const fs::path& folder) {
  std::uint64_t bytes = 0;
  for (const auto& file : fs::recursive_directory_iterator(folder)) {
    if (!file.is_regular_file() || file.path().string().find("/training/") != std::string::npos) continue;
    const auto extension = file.path().extension();
    if (extension == ".safetensors" || extension == ".bin") bytes += float_bytes(file.path());
  }
  return bytes;
}

void read_prior(ModelInfo& info, const fs::path& folder) {
  const auto scheduler = folder / "scheduler" / "config.json";
  const auto prior = prior_facts(config_of(folder / "transformer" / "config.json"),
                                 fs::exists(scheduler) ? config_of(scheduler) : json(), folder.string());
  info.has_prior = true;
  info.h = prior.network.grid.h;
  info.w = prior.network.grid.w;
  info.process = prior.process;
  info.total_steps = prior.total_steps;
  info.condition = prior.condition();
  info.has_captions = prior.network.words > 0;
  info.classes = prior.network.classes;
  info.class_names = prior.network.class_names;
  info.suggested = prior.suggestion;
  info.has_mask = prior.has_mask;
  info.samplers = suitable_samplers(prior.network.autoregressive, prior.has_mask);
}

constexpr std::size_t kMostUpdated = 2;  // models under small updates in memory, where their limit asks for no fewer

}  // namespace

std::int64_t class_of(const std::string& name, const ModelInfo& model) {
  try {
    return class_named(name, model.class_names, model.classes);
  } catch (const UsageError& error) {
    throw HttpError(400, error.what(), "class");
  }
}

bool ModelInfo::takes_steps() const {
  const auto* sampler = tessera::samplers().find(default_sampler());
  return sampler == nullptr || sampler->takes_steps;
}

ModelSource parse_model_source(const std::string& text) {
  const auto equals = text.find('=');
  ModelSource source;
  source.folder = equals == std::string::npos ? text : text.substr(equals + 1);
  auto folder = source.folder;
  if (!folder.has_filename()) folder = folder.parent_path();  // "models/emoji64/"
  source.name = equals == std::string::npos ? folder.filename().string() : text.substr(0, equals);
  const bool plain = !source.name.empty() && source.name.size() <= 100 &&
                     source.name.find_first_not_of(
                         "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                         "0123456789_.-") == std::string::npos;
  if (!plain || source.folder.empty()) {
    throw UsageError(
        fmt::format("--model {}: expected FOLDER or NAME=FOLDER, a name of letters, digits and _ . -", text));
  }
  source.folder = find_model(source.folder);
  return source;
}

ModelInfo read_model_info(const ModelSource& source) {
  const auto& folder = source.folder;
  require(fs::is_directory(folder), "{}: no such folder", folder.string());
  const bool bare = !fs::exists(folder / "model_index.json");
  try {
    const auto codec =
        codec_options_from_json(config_of(bare ? folder / "config.json" : folder / "vqvae" / "config.json"));
    ModelInfo info;
    info.name = source.name;
    info.folder = folder;
    info.factor = codec.factor();
    info.codebook_size = codec.codebook_size;
    info.h = codec.grid().h;
    info.w = codec.grid().w;
    if (!bare && fs::exists(folder / "transformer" / "config.json")) read_prior(info, folder);
    info.width = info.w * info.factor;
    info.height = info.h * info.factor;
    info.bytes = weight_bytes(folder);
    return info;
  } catch (const json::exception& error) {
    fail("{}: {}", folder.string(), error.what());
  }
}

ModelStore::ModelStore(std::vector<ModelSource> sources, PipelineOptions options, std::uint64_t limit_bytes,
                       Metrics& metrics, LoraFolder loras)
    : options_(std::move(options)), limit_(limit_bytes), metrics_(metrics), loras_(std::move(loras)) {
  require(!sources.empty(), "no models, expected at least one");
  for (auto& source : sources) {
    for (const auto& entry : entries_) {
      require(entry.source.name != source.name, "two models are called {}; name them with NAME=FOLDER", source.name);
    }
    auto info = read_model_info(source);
    info.loras = loras_.names();
    auto name = source.name;
    entries_.push_back({std::move(source), std::move(info), nullptr, 0, std::move(name)});
  }
}

std::vector<ModelInfo> ModelStore::infos() const {
  const std::lock_guard lock(mutex_);
  std::vector<ModelInfo> infos;
  for (const auto& entry : entries_) {
    if (entry.key != entry.source.name) continue;  // a served one under updates
    infos.push_back(entry.info);
    infos.back().loaded = entry.pipeline != nullptr;
  }
  return infos;
}

ModelStore::Entry& ModelStore::entry_of(const std::string& key) {
  const auto with = [&](const std::string& name) {
    return std::find_if(entries_.begin(), entries_.end(), [&](const Entry& each) { return each.key == name; });
  };
  if (const auto found = with(key); found != entries_.end()) return *found;
  const auto name = read_model_key(key).model;
  const auto served = with(name);
  require(served != entries_.end(), "model '{}': not served", name);
  // Requests can ask for any weights: of those that are not in memory nothing is remembered.
  entries_.remove_if(
      [](const Entry& entry) { return entry.key != entry.source.name && !entry.pipeline && !entry.loading; });
  entries_.push_back({served->source, served->info, nullptr, 0, key});
  return entries_.back();
}

std::shared_ptr<Pipeline> ModelStore::get(const std::string& key) {
  Entry* entry = nullptr;
  {
    const std::lock_guard lock(mutex_);
    entry = &entry_of(key);
    entry->used = ++clock_;
    if (entry->pipeline) return entry->pipeline;
    if (!read_model_key(key).loras.empty()) make_room_for_updated();
    make_room(entry->info.bytes);
    entry->loading = true;
  }
  // Not under the lock: others may ask for infos meanwhile. One thread loads.
  std::shared_ptr<Pipeline> pipeline;
  try {
    auto options = options_;
    options.loras = loras_.files_of(read_model_key(key).loras);
    pipeline = std::make_shared<Pipeline>(Pipeline::load(entry->source.folder, options));
  } catch (const Error& error) {
    log().error("{}", error.what());
    const std::lock_guard lock(mutex_);
    entry->loading = false;
    fail("model {}: cannot be loaded; the server's log says why", key);
  }
  log().info("loaded {} ({} MiB of weights)", key, entry->info.bytes >> 20);
  const std::lock_guard lock(mutex_);
  entry->loading = false;
  entry->pipeline = pipeline;
  report();
  return pipeline;
}

void ModelStore::make_room_for_updated() {
  for (;;) {
    std::size_t held = 0;
    Entry* oldest = nullptr;
    for (auto& entry : entries_) {
      if (!entry.pipeline || entry.key == entry.source.name) continue;
      ++held;
      if (entry.pipeline.use_count() == 1 && (!oldest || entry.used < oldest->used)) oldest = &entry;
    }
    if (held < kMostUpdated || !oldest) return;
    log().info("unloaded {}", oldest->key);
    oldest->pipeline.reset();
  }
}

void ModelStore::make_room(std::uint64_t bytes) {
  if (limit_ == 0) return;
  for (;;) {
    std::uint64_t held = 0;
    Entry* oldest = nullptr;
    for (auto& entry : entries_) {
      if (!entry.pipeline) continue;
      held += entry.info.bytes;
      if (entry.pipeline.use_count() == 1 && (!oldest || entry.used < oldest->used)) oldest = &entry;
    }
    if (held + bytes <= limit_ || !oldest) break;
    log().info("unloaded {}", oldest->key);
    oldest->pipeline.reset();
  }
  report();
}

void ModelStore::report() const {
  double count = 0, bytes = 0;
  for (const auto& entry : entries_) {
    if (!entry.pipeline) continue;
    count += 1;
    bytes += static_cast<double>(entry.info.bytes);
  }
  metrics_.set("tessera_models_loaded", count);
  metrics_.set("tessera_model_bytes", bytes);
}

}  // namespace tessera::server
