#include "data/dataset.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "data/content_hash.h"
#include "data/decode.h"
#include "data/pack_file.h"
#include "image/image.h"
#include "runtime/bounded_json.h"
#include "runtime/error.h"
#include "runtime/log.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMaxSize = 8192;

/// 64 bits of a name: FNV-1a. Which images are for validation is part of the format.
std::uint64_t name_hash(const std::string& name) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : name) hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001b3ULL;
  return hash;
}

/// What besides the source decides over the pixels.
std::string options_hash(const DatasetOptions& options) {
  constexpr std::int64_t kReading = 2;  // how names, captions and parts are read; another number decodes again
  ContentHash hash;
  hash.add(std::int64_t{kPackVersion})
      .add(kReading)
      .add(options.size)
      .add(to_string(parse_colour(options.background)))
      .add(std::int64_t{options.upscale})
      .add(options.max_pixels)
      .add(static_cast<std::int64_t>(options.limits.max_entry_bytes));
  const auto& choice = options.choice;
  hash.add(choice.caption_field).add(choice.split_field).add(choice.image_field);
  hash.add(std::int64_t{choice.whole_captions}).add(static_cast<std::int64_t>(choice.where.size()));
  for (const auto& condition : choice.where) hash.add(condition);
  if (!options.shard.is_whole()) hash.add(options.shard.text());
  return hash.hex();
}

/// The cache of one (source, options): its name says whose it is, its `source` field in which state.
struct CachePlace {
  fs::path file;  // empty: no cache
  std::string source;
};

CachePlace cache_place(const DatasetOptions& options) {
  if (!options.use_cache) return {};
  const auto folder = options.cache_folder.empty() ? default_cache_folder() : options.cache_folder;
  if (folder.empty()) return {};
  std::error_code code;
  const auto canonical = fs::weakly_canonical(options.path, code).string();
  const auto variant = options_hash(options);
  const auto name = ContentHash().add(canonical).add(variant).hex().substr(0, 32);
  const auto source = ContentHash().add(source_fingerprint(options.path, options.limits)).add(variant).hex();
  return {folder / (name + kPackEnding), source};
}

std::optional<DatasetContent> load_cache(const CachePlace& place, std::uint64_t memory_limit) {
  std::error_code code;
  if (place.file.empty() || !fs::exists(place.file, code)) return std::nullopt;
  try {
    std::string source;
    // Up to the size that is kept in memory: what is damaged here is only made again.
    auto content = read_pack(place.file, &source, memory_limit);
    if (source == place.source) return content;
    log().info("{}: the source has changed, decoding it again", place.file.string());
  } catch (const Error& error) {
    log().warn("{}; decoding the source again", error.what());
  }
  return std::nullopt;
}

/// Keeps the content in the cache, and takes it from there where it is too large for the memory.
void save_cache(const CachePlace& place, DatasetContent& content, std::uint64_t memory_limit) {
  if (place.file.empty()) return;
  try {
    std::error_code code;
    fs::create_directories(place.file.parent_path(), code);
    write_pack(place.file, content, place.source);
    if (content.images.nbytes() > memory_limit) content = read_pack(place.file);
  } catch (const Error& error) {
    log().warn("{}; going on without a cache", error.what());
  }
}

/// "files 9: pictures 4 (with a caption 2), companions of pictures 1, left out 4 (.bmp: ...: 2, ...)".
std::string account(const DatasetContent& content) {
  const auto captions =
      std::count_if(content.items.begin(), content.items.end(), [](const auto& item) { return !item.caption.empty(); });
  std::string left;
  std::int64_t count = 0;
  for (const auto& [reason, files] : content.reasons) {
    left += fmt::format("{}{}: {}", left.empty() ? "" : "; ", reason, files);
    count += files;
  }
  return fmt::format("files {}: pictures {} (with a caption {}), companions of pictures {}, left out {}{}",
                     content.files, content.items.size(), captions, content.companions, count,
                     left.empty() ? "" : " (" + left + ")");
}

/// Says what is in the set, and what is not.
void report(const DatasetContent& content, const DatasetOptions& options) {
  const auto path = options.path.string();
  for (const auto& note : content.notes) {
    if (options.say_account) log().info("{}: {}", path, note);
  }
  if (content.files > 0 && options.say_account) log().info("{}: {}", path, account(content));
  if (content.skipped_count == 0) return;
  if (options.strict) {
    fail("{}: {} problems, none allowed with --strict; the first: {}", path, content.skipped_count,
         content.skipped.empty() ? "" : content.skipped.front());
  }
  constexpr std::size_t kShown = 10;
  for (std::size_t i = 0; i < std::min(kShown, content.skipped.size()); ++i) log().warn("{}", content.skipped[i]);
  log().warn("{}: {} problems, {} images are used", path, content.skipped_count, content.items.size());
}

/// What was chosen of fields and pictures, applied to a pack, whose pictures are decoded and whose names are gone.
void choose_from_pack(DatasetContent& content, const DatasetOptions& options) {
  const auto& choice = options.choice;
  if (choice.is_default()) return;
  const auto path = options.path.string();
  require(choice.image_field.empty(), "{}: image field '{}': a pack holds one picture of each sample; pack it again",
          path, choice.image_field);
  FieldCounts counts;
  std::vector<std::int64_t> kept;
  std::vector<DatasetItem> items;
  std::int64_t captions = 0, splits = 0;
  for (std::size_t i = 0; i < content.items.size(); ++i) {
    auto item = content.items[i];
    auto record = json_or_discarded(item.fields);
    if (!record.is_object()) record = nlohmann::json::object();
    if (!item.caption.empty()) record["text"] = item.caption;
    if (item.label >= 0) record["label"] = content.class_names.at(static_cast<std::size_t>(item.label));
    record["file_name"] = item.file_name;
    count_fields(record, counts);
    if (!choice.caption_field.empty() && choice.caption_field != "text") {
      const auto found = record.find(choice.caption_field);
      auto texts = found == record.end() ? std::vector<std::string>() : captions_of(*found);
      item.caption = texts.empty() ? "" : texts.front();
      item.more_captions.assign(texts.begin() + (texts.empty() ? 0 : 1), texts.end());
    }
    captions += !item.caption.empty();
    if (!choice.split_field.empty()) {
      const auto found = record.find(choice.split_field);
      if (found != record.end() && found->is_string()) item.split = split_of_word(found->get<std::string>());
      splits += item.split.has_value();
    }
    if (!holds(choice.where, record)) continue;
    kept.push_back(static_cast<std::int64_t>(i));
    items.push_back(std::move(item));
  }
  for (const auto& field : fields_of(choice.where))
    require(counts.contains(field), "{}: where: no picture has a field '{}'; the fields there are: {}", path, field,
            fields_text(counts));
  require(choice.caption_field.empty() || captions > 0,
          "{}: caption field '{}': no picture has a text there; the fields there are: {}", path, choice.caption_field,
          fields_text(counts));
  require(choice.split_field.empty() || splits > 0,
          "{}: split field '{}': no picture has train, validation or test there; the fields there are: {}", path,
          choice.split_field, fields_text(counts));
  require(!kept.empty(), "{}: where {}: holds for none of {} pictures", path, fmt::join(choice.where, ", "),
          content.items.size());
  const auto gone = static_cast<std::int64_t>(content.items.size() - kept.size());
  if (content.checks) content.checks->require_whole(0, content.images.nbytes());
  content.checks.reset();
  if (gone > 0) {
    content.images = content.images.index_select(0, torch::tensor(kept));
    if (content.files > 0) content.reasons["left out by --where"] += gone;
  }
  content.items = std::move(items);
  compute_key(content);
}

}  // namespace

fs::path default_cache_folder() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache && *cache) return fs::path(cache) / "tessera";
  if (const char* home = std::getenv("HOME"); home && *home) return fs::path(home) / ".cache" / "tessera";
  return {};
}

void DatasetOptions::validate() const {
  require(!path.empty(), "data: no path");
  require(size >= 0 && size <= kMaxSize, "size: {}, expected 0 to {}", size, kMaxSize);
  require(validation_fraction >= 0 && validation_fraction < 1, "validation_fraction: {}, expected a number in [0, 1)",
          validation_fraction);
  require(max_pixels > 0, "max_pixels: {}, expected at least 1", max_pixels);
  require(threads >= 0, "threads: {}, expected at least 0", threads);
  parse_colour(background);
  choice.validate();
}

Dataset Dataset::open(const DatasetOptions& options) {
  options.validate();
  if (is_pack(options.path)) {
    std::error_code code;
    require(fs::is_regular_file(options.path, code), "{}: no such file", options.path.string());
    require(options.shard.is_whole(), "{}: a pack is not packed in shards, expected the pictures themselves",
            options.path.string());
    auto content = read_pack(options.path);
    require(options.size == 0 || content.images.size(2) == options.size, "{}: images of {} pixels, expected {}",
            options.path.string(), content.images.size(2), options.size);
    choose_from_pack(content, options);
    report(content, options);
    return Dataset(std::move(content), options.validation_fraction, options.split_seed);
  }
  require(options.size > 0, "size: 0, expected the width of the images in pixels (only a {} has its own)", kPackEnding);
  const auto place = cache_place(options);
  auto content = load_cache(place, options.memory_limit);
  if (!content) {
    const auto source = open_image_source(options.path, options.limits, options.choice);
    content = decode_source(*source, options);
    content->shard = options.shard;
    compute_key(*content);
    save_cache(place, *content, options.memory_limit);
  }
  report(*content, options);
  return Dataset(std::move(*content), options.validation_fraction, options.split_seed);
}

Dataset::Dataset(DatasetContent content, double validation_fraction, Seed split_seed)
    : validation_fraction_(validation_fraction) {
  require(content.images.defined() && content.images.dim() == 4 && content.images.size(1) == 3 &&
              content.images.size(2) == content.images.size(3) && content.images.scalar_type() == torch::kUInt8 &&
              content.images.is_contiguous() && content.images.is_cpu(),
          "data set: expected images [n, 3, S, S] uint8 on the CPU");
  require(content.images.size(0) == static_cast<std::int64_t>(content.items.size()) && !content.items.empty(),
          "data set: {} images with {} records, expected one each and at least one", content.images.size(0),
          content.items.size());
  if (content.key.empty()) compute_key(content);
  content_ = std::make_shared<const DatasetContent>(std::move(content));
  const auto& items = content_->items;
  const bool names_validation =
      std::any_of(items.begin(), items.end(), [](const auto& item) { return item.split == Split::validation; });
  for (std::int64_t i = 0; i < size(); ++i) {
    all_.push_back(i);
    const auto own = item(i).split.value_or(Split::train);
    if (own == Split::validation) {
      validation_.push_back(i);
    } else if (own == Split::test) {
      test_.push_back(i);
    } else {
      const double draw = RandomStream(split_seed, Purpose::data_split, name_hash(file_name(i))).uniform(0);
      (!names_validation && draw < validation_fraction ? validation_ : train_).push_back(i);
    }
  }
}

std::vector<std::string> Dataset::captions(std::int64_t index) const {
  const auto& own = item(index);
  std::vector<std::string> captions = {own.caption};
  captions.insert(captions.end(), own.more_captions.begin(), own.more_captions.end());
  return captions;
}

std::int64_t Dataset::captioned() const {
  return std::count_if(content_->items.begin(), content_->items.end(),
                       [](const auto& item) { return !item.caption.empty(); });
}

std::string Dataset::captioned_text() const {
  const auto captions = captioned();
  return fmt::format("{} pictures, {} with a caption", size(), captions == 0 ? "none" : std::to_string(captions));
}

std::string Dataset::no_captions_text() const {
  FieldCounts counts;
  for (const auto& item : content_->items) {
    const auto record = json_or_discarded(item.fields);
    if (record.is_object()) count_fields(record, counts);
  }
  return fmt::format(
      "the {} pictures have no captions (text or caption in metadata.jsonl or .csv, .txt or .caption beside the "
      "picture); the fields there are: {}; --caption-field names one",
      size(), fields_text(counts));
}

bool Dataset::has_own_splits() const {
  return std::any_of(content_->items.begin(), content_->items.end(),
                     [](const auto& item) { return item.split.has_value(); });
}

const std::vector<std::int64_t>& Dataset::split(Split split) const {
  switch (split) {
    case Split::train:
      return train_;
    case Split::validation:
      return validation_;
    case Split::test:
      return test_;
    case Split::all:
      break;
  }
  return all_;
}

const std::vector<std::int64_t>& Dataset::require_split(Split split_name) const {
  const auto& indices = split(split_name);
  require(split_name != Split::test || !indices.empty(),
          "data set: no test images among {}; expected a folder or a field that names them", size());
  require(!indices.empty(), "data set: no {} images among {} with a validation fraction of {}; expected {}",
          split_name == Split::train ? "training" : "validation", size(), validation_fraction_,
          split_name == Split::train
              ? "a smaller fraction"
              : "a larger fraction, another split seed or more images; --split all takes every one");
  return indices;
}

const torch::Tensor& Dataset::rows_checked(std::int64_t begin, std::int64_t end) const {
  const auto& images = content_->images;
  if (content_->checks && images.size(0) > 0) {
    const auto row = static_cast<std::uint64_t>(images.nbytes()) / static_cast<std::uint64_t>(images.size(0));
    content_->checks->require_whole(static_cast<std::uint64_t>(begin) * row, static_cast<std::uint64_t>(end) * row);
  }
  return images;
}

torch::Tensor Dataset::images(const torch::Tensor& indices) const {
  const auto* index = indices.data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < indices.numel(); ++i) rows_checked(index[i], index[i] + 1);
  return content_->images.index_select(0, indices);
}

void Dataset::save_pack(const std::filesystem::path& path) const {
  write_pack(path, *content_, "");
}

}  // namespace tessera
