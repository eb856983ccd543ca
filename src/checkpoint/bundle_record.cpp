#include "checkpoint/bundle_record.h"

#include <map>

#include "checkpoint/sha256.h"
#include "runtime/atomic_file.h"
#include "runtime/bounded_json.h"
#include "runtime/error.h"
#include "runtime/printable.h"

namespace tessera {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::uint64_t kMostBytes = 64 << 20;
constexpr const char* kOwn = "tessera";
constexpr const char* kFiles = "files";
constexpr const char* kChecksum = "sha256";

std::string hash_of(const std::string& text) {
  Sha256 hash;
  hash.update(text);
  return "sha256:" + hash.finish();
}

/// The files that are recorded where they are there.
std::vector<std::string> recorded_names() {
  std::vector<std::string> names;
  for (const char* part :
       {"vqvae", "transformer", "scheduler", "text_encoder", "learned_classifier_free_sampling_embeddings"})
    names.push_back(std::string(part) + "/config.json");
  names.emplace_back("scheduler/scheduler_config.json");
  for (const char* file : {"vocab.json", "merges.txt", "tokenizer.json", "bpe_simple_vocab_16e6.txt.gz",
                           "bpe_simple_vocab_16e6.txt", "tokenizer_config.json", "special_tokens_map.json"})
    names.push_back(std::string("tokenizer/") + file);
  return names;
}

/// Of all but the weights' hashes, which the weights themselves are compared with.
std::string checksum_of(json index) {
  for (const char* name : {kChecksum, "weights", "weights_next"}) index[kOwn].erase(name);
  return hash_of(index.dump());
}

json read_index(const fs::path& file) {
  auto index = read_json_object(read_file(file, kMostBytes), file.string());
  require(index.contains(kOwn) && index[kOwn].is_object(), "{}: no bundle of this program, expected a field '{}'",
          file.string(), kOwn);
  return index;
}

}  // namespace

void require_recorded(const fs::path& folder, const json& index) {
  const auto where = (folder / "model_index.json").string();
  const auto own = index.find(kOwn);
  const bool ours = index.value("_class_name", json()) == "TesseraPipeline";
  require(!ours || (own != index.end() && own->is_object()), "{}: lacks '{}': the file is damaged", where, kOwn);
  if (own == index.end() || !own->is_object()) return;
  const auto files = own->find(kFiles), checksum = own->find(kChecksum);
  if (files == own->end() && checksum == own->end()) return;
  require(files != own->end() && checksum != own->end() && files->is_object() && checksum->is_string() &&
              checksum->get<std::string>() == checksum_of(index),
          "{}: does not have the checksum that it was written with: it was changed or damaged (tessera verify --record "
          "takes it as it is)",
          where);
  const auto weights = own->value("weights", json::object());
  for (const auto& [part, hash] : weights.items())
    require(index.contains(part), "{}: records the weights of '{}', which it does not list: it was changed or damaged",
            where, printable(part));
  for (const auto& [name, recorded] : files->items()) {
    const auto file = folder / name;
    // Names are ours, or the checksum above would not be right; a stranger's leaves the folder all the same.
    require(recorded.is_string() && !fs::path(name).is_absolute() && name.find("..") == std::string::npos,
            "{}: records '{}', expected a file of the bundle", where, printable(name));
    std::error_code code;
    require(fs::exists(file, code), "{}: recorded in model_index.json, but there is no such file", file.string());
    const auto found = hash_of(read_file(file, kMostBytes));
    require(recorded.get<std::string>().find(found) != std::string::npos,
            "{}: its hash is {}, model_index.json records {}: it was changed or damaged (tessera verify --record takes "
            "it as it is)",
            file.string(), found, printable(recorded.get<std::string>()));
  }
}

void announce_files(json& index, const std::map<std::string, std::string>& texts) {
  auto& files = index[kOwn][kFiles];
  if (!files.is_object()) files = json::object();
  for (const auto& [name, text] : texts) {
    const auto before = files.value(name, json(""));
    const auto hash = hash_of(text);
    const bool other = before.is_string() && !before.get<std::string>().empty() &&
                       before.get<std::string>().find(hash) == std::string::npos;
    files[name] = other ? before.get<std::string>() + " " + hash : hash;
  }
}

void record_files(json& index, const fs::path& folder) {
  auto files = json::object();
  std::error_code code;
  for (const auto& name : recorded_names()) {
    if (fs::is_regular_file(folder / name, code)) files[name] = hash_of(read_file(folder / name, kMostBytes));
  }
  index[kOwn][kFiles] = std::move(files);
}

std::string index_text(json index) {
  if (index.contains(kOwn) && index[kOwn].is_object() && index[kOwn].contains(kFiles))
    index[kOwn][kChecksum] = checksum_of(index);
  return index.dump(2) + "\n";
}

void replace_bundle_file(const fs::path& folder, const std::string& name, const std::string& text) {
  const auto file = folder / "model_index.json";
  std::error_code code;
  if (!fs::exists(file, code)) return write_file_atomically(folder / name, text);
  auto index = read_json_object(read_file(file, kMostBytes), file.string());
  const bool records = index.contains(kOwn) && index[kOwn].is_object() && index[kOwn].contains(kFiles);
  if (!records) return write_file_atomically(folder / name, text);
  announce_files(index, {{name, text}});
  write_file_atomically(file, index_text(index));
  write_file_atomically(folder / name, text);
  index[kOwn][kFiles][name] = hash_of(text);
  write_file_atomically(file, index_text(index));
}

void record_bundle(const fs::path& folder) {
  const auto file = folder / "model_index.json";
  auto index = read_index(file);
  record_files(index, folder);
  write_file_atomically(file, index_text(index));
}

}  // namespace tessera
