#include "checkpoint/state_dict.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <span>

#include "checkpoint/torch_archive.h"
#include "runtime/atomic_file.h"
#include "runtime/bounded_json.h"
#include "runtime/error.h"
#include "runtime/printable.h"

namespace tessera {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr const char* kAveraged[] = {"ema_state_dict", "state_dict_ema", "model_ema", "ema_model", "params_ema", "ema"};
constexpr const char* kWrappers[] = {"state_dict", "model_state_dict", "model",   "module", "params",
                                     "net",        "network",          "weights", "vqgan",  "vqvae"};
constexpr int kDeepestWrapper = 3;
constexpr std::uint64_t kMaxIndexBytes = 16 << 20;

bool has_tensors(const TorchValue& value) {
  const auto entries = value.entries();
  return std::any_of(entries.begin(), entries.end(), [](const auto& entry) {
    return entry.second.kind() == ValueKind::tensor || entry.second.stands_for_tensor();
  });
}

std::string joined(const std::string& path, const char* key) {
  return path.empty() ? key : path + "/" + key;
}

/// Where a file's tensors lie.
struct Place {
  bool found = false;
  std::string path;   // of the dict that is taken
  std::string plain;  // of the weights beside averaged ones; empty: none
};

Place find_tensors(const TorchArchive& archive, const std::string& path, int depth) {
  const auto value = path.empty() ? archive.root() : archive.at(path);
  if (value.kind() != ValueKind::dict) return {};
  const auto first_of = [&](std::span<const char* const> keys) {
    for (const char* key : keys) {
      const auto held = value.find(key);
      if (!held || held->kind() != ValueKind::dict || depth >= kDeepestWrapper) continue;
      if (auto place = find_tensors(archive, joined(path, key), depth + 1); place.found) return place;
    }
    return Place{};
  };
  auto averaged = first_of(kAveraged);
  const auto plain = first_of(kWrappers);
  if (averaged.found) {
    if (plain.found) averaged.plain = plain.path;
    return averaged;
  }
  if (plain.found) return plain;
  return {has_tensors(value), path, {}};
}

/// "model (dict of 157), epoch (integer)".
std::string contents_text(const TorchValue& root) {
  constexpr std::size_t kShown = 12;
  std::string text;
  std::size_t shown = 0;
  for (const auto& [key, value] : root.entries()) {
    if (++shown > kShown) return text + ", ...";
    text += fmt::format("{}{} ({}{})", text.empty() ? "" : ", ", printable(key, 60), kind_name(value.kind()),
                        value.size() > 0 ? fmt::format(" of {}", value.size()) : "");
  }
  return text.empty() ? "nothing" : text;
}

/// Cuts off what DistributedDataParallel and torch.compile put before every name.
void cut_wrappers(TensorMap& tensors) {
  for (const std::string prefix : {"module.", "_orig_mod.", "module."}) {
    const bool all = !tensors.empty() && std::all_of(tensors.begin(), tensors.end(), [&](const auto& tensor) {
      return tensor.first.starts_with(prefix) && tensor.first.size() > prefix.size();
    });
    if (!all) continue;
    TensorMap cut;
    for (auto& [name, tensor] : tensors) cut.emplace(name.substr(prefix.size()), std::move(tensor));
    tensors = std::move(cut);
  }
}

bool is_averaged(const std::string& path) {
  return std::any_of(std::begin(kAveraged), std::end(kAveraged), [&](const std::string& key) {
    return path == key || path.ends_with("/" + key) || path.starts_with(key + "/");
  });
}

/// Averages leave out what is not trained: that comes from the plain weights.
void take_plain_too(const TorchArchive& archive, const Place& place, StateDict& state) {
  auto text = fmt::format("the averaged weights, '{}'", printable(place.path));
  if (!place.plain.empty()) {
    auto plain = archive.tensors(place.plain);
    cut_wrappers(plain);
    const auto before = state.tensors.size();
    state.tensors.merge(plain);
    const auto more = state.tensors.size() - before;
    text += fmt::format(", not '{}'", printable(place.plain));
    if (more > 0) text += fmt::format(", but for {} tensors that only that one has", more);
  }
  state.assumptions.push_back(std::move(text));
}

/// The shards that an index lists, put together.
TensorMap load_shards(const fs::path& index_file) {
  const auto where = index_file.string();
  const auto index = json_or_discarded(read_file(index_file, kMaxIndexBytes));
  require(index.is_object() && index.contains("weight_map") && index["weight_map"].is_object(),
          "{}: no weight_map in it", where);
  std::map<std::string, std::set<std::string>> names_of;
  for (const auto& [name, file] : index["weight_map"].items()) {
    require(file.is_string(), "{}: the shard of '{}' is no name", where, printable(name));
    const auto shard = file.get<std::string>();
    require(!shard.empty() && fs::path(shard).filename() == fs::path(shard) && shard != "." && shard != "..",
            "{}: shard '{}', expected the name of a file beside it", where, printable(shard));
    names_of[shard].insert(name);
  }
  TensorMap tensors;
  for (const auto& [shard, names] : names_of) {
    const auto file = index_file.parent_path() / shard;
    require(fs::exists(file), "{}: lists {}, which is not there", where, printable(shard));
    auto held = load_state_dict(file).tensors;
    for (const auto& name : names) {
      const auto found = held.find(name);
      require(found != held.end(), "{}: lacks '{}', which {} says it holds", file.string(), printable(name),
              index_file.filename().string());
      tensors.emplace(name, found->second);
    }
  }
  require(!tensors.empty(), "{}: lists no tensors", where);
  return tensors;
}

}  // namespace

StateDict load_state_dict(const fs::path& path) {
  StateDict state;
  if (looks_like_torch_archive(path)) {
    const auto archive = load_torch_archive(path);
    const auto root = archive.root();
    require(root.kind() == ValueKind::dict, "{}: holds {} {}, expected a dict of tensors", path.string(),
            kind_name(root.kind()), root.kind() == ValueKind::opaque ? root.class_name() : "");
    const auto place = find_tensors(archive, "", 0);
    require(place.found, "{}: no tensors in it; it holds {}", path.string(), contents_text(root));
    state.tensors = archive.tensors(place.path);
    cut_wrappers(state.tensors);
    if (is_averaged(place.path)) take_plain_too(archive, place, state);
  } else {
    state.tensors = load_safetensors(path);
  }
  cut_wrappers(state.tensors);
  return state;
}

std::string prefixes_text(const TensorMap& tensors) {
  constexpr std::size_t kShown = 8;
  std::map<std::string, std::int64_t> counts;
  for (const auto& [name, tensor] : tensors) {
    const auto dot = name.find('.');
    ++counts[dot == std::string::npos ? name : name.substr(0, dot + 1)];
  }
  std::string text;
  std::size_t shown = 0;
  for (const auto& [prefix, count] : counts) {
    if (++shown > kShown) return text + fmt::format(", {} more", counts.size() - kShown);
    text += fmt::format("{}{} ({})", text.empty() ? "" : ", ", printable(prefix, 60), count);
  }
  return text.empty() ? "nothing" : text;
}

TensorMap load_hub_weights(const fs::path& folder, const std::vector<std::string>& stems) {
  for (const std::string variant : {"", ".fp16", ".bf16"}) {
    for (const auto& stem : stems) {
      for (const std::string ending : {".safetensors", ".bin"}) {
        if (const auto file = folder / (stem + variant + ending); fs::exists(file))
          return load_state_dict(file).tensors;
        for (const auto& name :
             {stem + ending + ".index" + variant + ".json", stem + variant + ending + ".index.json"}) {
          if (const auto file = folder / name; fs::exists(file)) return load_shards(file);
        }
      }
    }
  }
  fail("{}: holds neither {}.safetensors nor {}.bin, whole, in shards or as .fp16", folder.string(), stems.front(),
       stems.back());
}

}  // namespace tessera
