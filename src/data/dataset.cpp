#include "data/dataset.h"

#include <algorithm>
#include <cstdlib>

#include "data/content_hash.h"
#include "data/decode.h"
#include "data/pack_file.h"
#include "image/image.h"
#include "runtime/error.h"
#include "runtime/log.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMaxSize = 8192;
constexpr const char* kPackExtension = ".tessera-pack";

/// 64 bits of a name: FNV-1a. Which images are for validation is part of the format.
std::uint64_t name_hash(const std::string& name) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : name) hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001b3ULL;
  return hash;
}

/// What besides the source decides over the pixels.
std::string options_hash(const DatasetOptions& options) {
  return ContentHash()
      .add(std::int64_t{kPackVersion})
      .add(options.size)
      .add(to_string(parse_colour(options.background)))
      .add(std::int64_t{options.upscale})
      .add(options.max_pixels)
      .add(static_cast<std::int64_t>(options.limits.max_entry_bytes))
      .hex();
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
  return {folder / (name + kPackExtension), source};
}

std::optional<DatasetContent> load_cache(const CachePlace& place) {
  std::error_code code;
  if (place.file.empty() || !fs::exists(place.file, code)) return std::nullopt;
  try {
    std::string source;
    auto content = read_pack(place.file, &source);
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

void report_skipped(const DatasetContent& content, const DatasetOptions& options) {
  if (content.skipped_count == 0) return;
  const auto path = options.path.string();
  if (options.strict) {
    fail("{}: {} problems, none allowed with --strict; the first: {}", path, content.skipped_count,
         content.skipped.empty() ? "" : content.skipped.front());
  }
  constexpr std::size_t kShown = 10;
  for (std::size_t i = 0; i < std::min(kShown, content.skipped.size()); ++i) log().warn("{}", content.skipped[i]);
  log().warn("{}: {} problems, {} images are used", path, content.skipped_count, content.items.size());
}

}  // namespace

fs::path default_cache_folder() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache && *cache) return fs::path(cache) / "tessera";
  if (const char* home = std::getenv("HOME"); home && *home) return fs::path(home) / ".cache" / "tessera";
  return {};
}

Split parse_split(const std::string& name) {
  if (name == "train") return Split::train;
  if (name == "validation") return Split::validation;
  if (name == "all") return Split::all;
  fail("split '{}': expected one of train, validation, all", name);
}

void DatasetOptions::validate() const {
  require(!path.empty(), "data: no path");
  require(size >= 0 && size <= kMaxSize, "size: {}, expected 0 to {}", size, kMaxSize);
  require(validation_fraction >= 0 && validation_fraction < 1, "validation_fraction: {}, expected a number in [0, 1)",
          validation_fraction);
  require(max_pixels > 0, "max_pixels: {}, expected at least 1", max_pixels);
  require(threads >= 0, "threads: {}, expected at least 0", threads);
  parse_colour(background);
}

Dataset Dataset::open(const DatasetOptions& options) {
  options.validate();
  if (options.path.extension() == kPackExtension) {
    std::error_code code;
    require(fs::is_regular_file(options.path, code), "{}: no such file", options.path.string());
    auto content = read_pack(options.path);
    require(options.size == 0 || content.images.size(2) == options.size, "{}: images of {} pixels, expected {}",
            options.path.string(), content.images.size(2), options.size);
    report_skipped(content, options);
    return Dataset(std::move(content), options.validation_fraction, options.split_seed);
  }
  require(options.size > 0, "size: 0, expected the width of the images in pixels (only a {} has its own)",
          kPackExtension);
  const auto place = cache_place(options);
  auto content = load_cache(place);
  if (!content) {
    const auto source = open_image_source(options.path, options.limits);
    content = decode_source(*source, options);
    compute_key(*content);
    save_cache(place, *content, options.memory_limit);
  }
  report_skipped(*content, options);
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
  for (std::int64_t i = 0; i < size(); ++i) {
    const double draw = RandomStream(split_seed, Purpose::data_split, name_hash(file_name(i))).uniform(0);
    (draw < validation_fraction ? validation_ : train_).push_back(i);
    all_.push_back(i);
  }
}

bool Dataset::has_captions() const {
  return std::any_of(content_->items.begin(), content_->items.end(),
                     [](const auto& item) { return !item.caption.empty(); });
}

const std::vector<std::int64_t>& Dataset::split(Split split) const {
  return split == Split::train ? train_ : split == Split::validation ? validation_ : all_;
}

const std::vector<std::int64_t>& Dataset::require_split(Split split_name) const {
  const auto& indices = split(split_name);
  require(!indices.empty(), "data set: no {} images among {} with a validation fraction of {}; expected {}",
          split_name == Split::train ? "training" : "validation", size(), validation_fraction_,
          split_name == Split::train ? "a smaller fraction" : "a larger fraction, another split seed or more images");
  return indices;
}

void Dataset::save_pack(const std::filesystem::path& path) const {
  write_pack(path, *content_, "");
}

}  // namespace tessera
