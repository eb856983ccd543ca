#include "data/pack_file.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "checkpoint/safetensors.h"
#include "checkpoint/safetensors_bytes.h"
#include "data/content_hash.h"
#include "runtime/bounded_json.h"
#include "runtime/error.h"
#include "runtime/mapped_file.h"
#include "runtime/printable.h"

namespace tessera {
namespace {

using nlohmann::json;

constexpr std::uint64_t kMaxHeaderBytes = std::uint64_t{64} << 20;
constexpr const char* kFormat = "tessera-pack";
constexpr const char* kChecks = "image_checks";

std::string records_text(const DatasetContent& content) {
  std::string text;
  for (const auto& item : content.items) {
    auto record = json_or_discarded(item.fields);
    if (!record.is_object()) record = json::object();
    record["file_name"] = item.file_name;
    if (!item.caption.empty()) record["text"] = item.caption;
    if (!item.more_captions.empty()) {
      record["text"] = json::array({item.caption});
      for (const auto& caption : item.more_captions) record["text"].push_back(caption);
    }
    if (item.split) {
      const auto found = record.find("split");
      const bool said =
          found != record.end() && found->is_string() && split_of_word(found->get<std::string>()) == item.split;
      if (!said) record["split"] = split_name(*item.split);
    }
    text += record.dump(-1, ' ', false, json::error_handler_t::replace);
    text.push_back('\n');
  }
  return text;
}

struct Entry {
  std::vector<std::int64_t> shape;
  std::uint8_t* data;
  std::uint64_t bytes;
};

/// One tensor of the header, checked against the file's size.
Entry find_entry(const json& header, const char* name, const char* type, std::size_t dimensions, std::uint8_t* data,
                 std::uint64_t data_bytes, const std::string& path) {
  const auto where = fmt::format("{}: tensor '{}'", path, name);
  require(header.contains(name), "{}: missing", where);
  const auto& object = header.at(name);
  require(object.at("dtype").get<std::string>() == type, "{}: type {}, expected {}", where,
          object.at("dtype").get<std::string>(), type);
  Entry entry{object.at("shape").get<std::vector<std::int64_t>>(), nullptr, 0};
  const auto offsets = object.at("data_offsets").get<std::vector<std::uint64_t>>();
  require(entry.shape.size() == dimensions, "{}: {} dimensions, expected {}", where, entry.shape.size(), dimensions);
  require(offsets.size() == 2 && offsets[0] <= offsets[1] && offsets[1] <= data_bytes, "{}: data outside the file",
          where);
  std::uint64_t expected = std::strcmp(type, "I64") == 0 ? 8 : 1;
  for (const auto size : entry.shape) {
    require(size >= 0 && !__builtin_mul_overflow(expected, static_cast<std::uint64_t>(size), &expected),
            "{}: impossible shape", where);
  }
  require(expected == offsets[1] - offsets[0], "{}: {} bytes, expected {}", where, offsets[1] - offsets[0], expected);
  entry.data = data + offsets[0];
  entry.bytes = expected;
  return entry;
}

/// has_splits: the field 'split' names the part of each image.
std::vector<DatasetItem> parse_records(std::string_view text, std::size_t count, bool has_splits,
                                       const std::string& path) {
  std::vector<DatasetItem> items;
  items.reserve(count);
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    auto record = json_or_discarded(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    require(items.size() < count && record.is_object() && record.contains("file_name"),
            "{}: record {} is broken or too many, expected {}", path, items.size(), count);
    DatasetItem item;
    item.file_name = record.at("file_name").get<std::string>();
    record.erase("file_name");
    if (record.contains("text")) {
      const auto& written = record.at("text");
      const auto captions = written.is_array() ? written.get<std::vector<std::string>>()
                                               : std::vector<std::string>{written.get<std::string>()};
      if (!captions.empty()) {
        item.caption = captions.front();
        item.more_captions.assign(captions.begin() + 1, captions.end());
      }
      record.erase("text");
    }
    if (has_splits && record.contains("split") && record.at("split").is_string())
      item.split = split_of_word(record.at("split").get<std::string>());
    item.fields = record.dump();
    items.push_back(std::move(item));
  }
  require(items.size() == count, "{}: {} records, expected {}", path, items.size(), count);
  return items;
}

/// Compares what is to be compared at once, and leaves the rest to checks of the images' blocks.
std::shared_ptr<const BlockChecks> check_pack(const std::shared_ptr<MappedFile>& mapping, const Entry& images,
                                              const json& header, std::uint8_t* data, std::uint64_t data_bytes,
                                              const std::string& path, std::uint64_t read_through) {
  constexpr std::uint64_t kMostWithoutBlocks = std::uint64_t{4} << 30;
  const auto begin = static_cast<std::uint64_t>(reinterpret_cast<char*>(images.data) - mapping->data());
  const bool blocks =
      header.contains(kChecks) && verify_safetensors_but(mapping->bytes(), begin, begin + images.bytes, path);
  if (mapping->size() <= (blocks ? read_through : std::max(read_through, kMostWithoutBlocks))) {
    verify_safetensors(mapping->bytes(), path);
    MappedFile::give_back(mapping->data(), mapping->size());
    return nullptr;
  }
  if (!blocks) return nullptr;
  const auto checks = find_entry(header, kChecks, "I64", 1, data, data_bytes, path);
  auto sums = torch::empty(checks.shape, torch::kInt64);
  std::memcpy(sums.data_ptr(), checks.data, checks.bytes);
  return std::make_shared<BlockChecks>(std::string_view(reinterpret_cast<const char*>(images.data), images.bytes), sums,
                                       path);
}

DatasetContent parse_pack(const std::shared_ptr<MappedFile>& mapping, const std::string& path, std::string* source,
                          std::uint64_t read_through) {
  std::uint64_t length = 0;
  require(mapping->size() >= 8, "{}: not a .tessera-pack, or it cannot be mapped", path);
  std::memcpy(&length, mapping->data(), 8);
  require(length <= mapping->size() - 8 && length <= kMaxHeaderBytes,
          "{}: not a .tessera-pack (header of {} bytes in {})", path, length, mapping->size());
  const char* begin = mapping->data() + 8;
  const auto header = json_or_discarded({begin, length});
  require(header.is_object() && header.contains("__metadata__"), "{}: not a .tessera-pack", path);
  const auto& metadata = header.at("__metadata__");
  require(metadata.value("format", "") == kFormat, "{}: not a .tessera-pack", path);
  require(metadata.value("version", "") == std::to_string(kPackVersion), "{}: version '{}', expected {}", path,
          metadata.value("version", ""), kPackVersion);

  auto* data = reinterpret_cast<std::uint8_t*>(mapping->data()) + 8 + length;
  const std::uint64_t data_bytes = mapping->size() - 8 - length;
  const auto images = find_entry(header, "images", "U8", 4, data, data_bytes, path);
  const auto checks = check_pack(mapping, images, header, data, data_bytes, path, read_through);
  const auto labels = find_entry(header, "labels", "I64", 1, data, data_bytes, path);
  const auto records = find_entry(header, "records", "U8", 1, data, data_bytes, path);
  const auto& shape = images.shape;
  require(shape[0] >= 1 && shape[1] == 3 && shape[2] >= 1 && shape[2] == shape[3],
          "{}: images [{}, {}, {}, {}], expected [n, 3, S, S]", path, shape[0], shape[1], shape[2], shape[3]);
  require(labels.shape[0] == shape[0], "{}: {} labels, expected {}", path, labels.shape[0], shape[0]);

  DatasetContent content;
  content.images = torch::from_blob(
      images.data, shape, [mapping](void*) {}, torch::kUInt8);
  content.checks = checks;
  content.items = parse_records({reinterpret_cast<const char*>(records.data), records.bytes},
                                static_cast<std::size_t>(shape[0]), metadata.value("splits", "") == "yes", path);
  content.class_names = read_json(metadata.at("class_names").get<std::string>(), path).get<std::vector<std::string>>();
  content.skipped = read_json(metadata.at("skipped").get<std::string>(), path).get<std::vector<std::string>>();
  content.skipped_count = read_json(metadata.at("skipped_count").get<std::string>(), path).get<std::int64_t>();
  // Packs of earlier versions do not say these.
  if (const auto found = metadata.find("account"); found != metadata.end()) {
    const auto account = read_json(found->get<std::string>(), path);
    content.files = account.at("files").get<std::int64_t>();
    content.companions = account.at("companions").get<std::int64_t>();
    content.reasons = account.at("reasons").get<std::map<std::string, std::int64_t>>();
    content.notes = account.at("notes").get<std::vector<std::string>>();
  }
  if (const auto found = metadata.find("shard"); found != metadata.end()) {
    const auto text = found->get<std::string>();
    try {
      content.shard = shard_from(text);
    } catch (const UsageError&) {
      fail("{}: shard '{}', expected I/N", path, printable(text));
    }
  }
  content.key = metadata.at("key").get<std::string>();
  require(content.key.size() == 64, "{}: key '{}', expected 64 hexadecimal digits", path, printable(content.key));
  for (std::size_t i = 0; i < content.items.size(); ++i) {
    std::memcpy(&content.items[i].label, labels.data + 8 * i, 8);
    const auto label = content.items[i].label;
    require(label >= -1 && label < static_cast<std::int64_t>(content.class_names.size()),
            "{}: label {} of image {}, expected less than {}", path, label, i, content.class_names.size());
  }
  if (source) *source = metadata.value("source", "");
  return content;
}

}  // namespace

void compute_key(DatasetContent& content) {
  ContentHash hash;
  for (const auto size : content.images.sizes()) hash.add(size);
  hash.add(content.images.data_ptr(), content.images.nbytes());
  hash.add(records_text(content));
  for (const auto& item : content.items) hash.add(item.label);
  for (const auto& name : content.class_names) hash.add(name);
  content.key = hash.hex();
}

void write_pack(const std::filesystem::path& path, const DatasetContent& content, const std::string& source) {
  std::string records = records_text(content);
  auto labels = torch::empty({static_cast<std::int64_t>(content.items.size())}, torch::kInt64);
  for (std::size_t i = 0; i < content.items.size(); ++i) labels.data_ptr<std::int64_t>()[i] = content.items[i].label;
  if (content.checks) content.checks->require_whole(0, content.images.nbytes());
  const auto images = content.images.contiguous();
  const TensorMap tensors = {
      {"images", images},
      {kChecks, BlockChecks::checksums_of({static_cast<const char*>(images.data_ptr()), images.nbytes()})},
      {"labels", labels},
      {"records", torch::from_blob(records.data(), {static_cast<std::int64_t>(records.size())}, torch::kUInt8)}};
  const bool has_splits =
      std::any_of(content.items.begin(), content.items.end(), [](const auto& item) { return item.split.has_value(); });
  const auto dump = [](const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); };
  Metadata metadata = {{"format", kFormat},
                       {"version", std::to_string(kPackVersion)},
                       {"key", content.key},
                       {"source", source},
                       {"class_names", dump(content.class_names)},
                       {"skipped", dump(content.skipped)},
                       {"skipped_count", std::to_string(content.skipped_count)},
                       {"splits", has_splits ? "yes" : "no"},
                       {"account", dump({{"files", content.files},
                                         {"companions", content.companions},
                                         {"reasons", content.reasons},
                                         {"notes", content.notes}})}};
  if (!content.shard.is_whole()) metadata["shard"] = content.shard.text();
  save_safetensors_apart(path, tensors, metadata, "images");
}

DatasetContent read_pack(const std::filesystem::path& path, std::string* source, std::uint64_t read_through) {
  const auto mapping = MappedFile::open(path);
  try {
    return parse_pack(mapping, path.string(), source, read_through);
  } catch (const json::exception& error) {
    fail("{}: malformed .tessera-pack: {}", path.string(), error.what());
  }
}

}  // namespace tessera
