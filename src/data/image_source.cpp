#include "data/image_source.h"

#include <algorithm>
#include <set>

#include "data/archive_reader.h"
#include "data/content_hash.h"
#include "data/shard_pattern.h"
#include "runtime/atomic_file.h"
#include "runtime/error.h"
#include "runtime/log.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

/// Adds a text to the catalogue's input while the sum stays within its limit.
class TextBudget {
 public:
  explicit TextBudget(const SourceLimits& limits) : left_(limits.max_text_bytes) {}
  std::uint64_t left() const { return left_; }
  void keep(CatalogueInput& input, const std::string& name, std::string text) {
    left_ -= std::min<std::uint64_t>(left_, text.size());
    input.texts.emplace(name, std::move(text));
  }

 private:
  std::uint64_t left_;
};

struct FolderFile {
  std::string name;
  std::uint64_t bytes;
  std::int64_t changed;
};

/// Every regular file that matters below a folder, in natural order. Linked folders are not followed.
std::vector<FolderFile> list_folder(const fs::path& root, const SourceLimits& limits) {
  std::vector<FolderFile> files;
  std::error_code code;
  fs::recursive_directory_iterator iterator(root, fs::directory_options::skip_permission_denied, code);
  require(!code, "{}: cannot be read: {}", root.string(), code.message());
  std::int64_t seen = 0;
  for (; iterator != fs::recursive_directory_iterator(); iterator.increment(code)) {
    require(!code, "{}: cannot be read: {}", root.string(), code.message());
    require(++seen <= limits.max_entries, "{}: more than {} files", root.string(), limits.max_entries);
    const auto& entry = *iterator;
    if (entry.is_directory(code)) {
      if (entry.path().filename().string().starts_with('.')) iterator.disable_recursion_pending();
      continue;
    }
    const auto name = entry.path().lexically_relative(root).generic_string();
    if (!is_image_name(name) && !is_text_name(name)) continue;
    if (!entry.is_regular_file(code)) continue;
    const auto bytes = entry.file_size(code);
    const auto changed = entry.last_write_time(code).time_since_epoch().count();
    if (!code) files.push_back({name, bytes, static_cast<std::int64_t>(changed)});
  }
  std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return natural_less(a.name, b.name); });
  return files;
}

class FolderSource : public ImageSource {
 public:
  FolderSource(fs::path root, const std::vector<FolderFile>& files, const SourceLimits& limits)
      : root_(std::move(root)), limits_(limits) {
    CatalogueInput input;
    TextBudget budget(limits);
    for (const auto& file : files) {
      if (is_text_name(file.name)) budget.keep(input, file.name, read_file(root_ / file.name, budget.left()));
      input.names.push_back(file.name);
    }
    catalogue_ = make_catalogue(input);
  }

  void read_all(ImageSink& sink) const override {
    for (std::size_t i = 0; i < catalogue_.items.size(); ++i) {
      std::string bytes;
      try {
        bytes = read_file(root_ / catalogue_.items[i].name, limits_.max_entry_bytes);
      } catch (const Error& error) {
        sink.unreadable(i, error.what());
        continue;
      }
      sink.receive(i, {bytes.begin(), bytes.end()});
    }
  }

 private:
  fs::path root_;
  SourceLimits limits_;
};

/// One archive, or several read one after another as one.
class ArchiveSource : public ImageSource {
 public:
  ArchiveSource(std::vector<fs::path> archives, const SourceLimits& limits)
      : archives_(std::move(archives)), limits_(limits) {
    CatalogueInput input;
    input.folders_are_classes = archives_.size() == 1;
    TextBudget budget(limits);
    walk([&](ArchiveReader& reader, const std::string& name) {
      require(static_cast<std::int64_t>(input.names.size()) < limits.max_entries, "{}: more than {} files",
              archives_.front().string(), limits.max_entries);
      input.names.push_back(name);
      if (!is_text_name(name) || !is_safe_name(name)) return;
      const auto bytes = reader.read(budget.left());
      budget.keep(input, name, {bytes.begin(), bytes.end()});
    });
    catalogue_ = make_catalogue(input);
    item_of_file_.assign(input.names.size(), -1);
    for (std::size_t i = 0; i < catalogue_.items.size(); ++i) {
      item_of_file_[catalogue_.items[i].file] = static_cast<std::int64_t>(i);
    }
  }

  void read_all(ImageSink& sink) const override {
    std::size_t file = 0;
    walk([&](ArchiveReader& reader, const std::string& name) {
      require(file < item_of_file_.size(), "{}: changed while it was read", archives_.front().string());
      const std::int64_t item = item_of_file_[file++];
      if (item < 0) return;
      const auto place = static_cast<std::size_t>(item);
      require(catalogue_.items[place].name == name, "{}: changed while it was read", archives_.front().string());
      std::vector<std::uint8_t> bytes;
      try {
        bytes = reader.read(limits_.max_entry_bytes);
      } catch (const Error& error) {
        sink.unreadable(place, error.what());
        return;
      }
      sink.receive(place, std::move(bytes));
    });
  }

 private:
  /// Calls visit(reader, name) for every file of every archive.
  template <typename Visit>
  void walk(Visit visit) const {
    for (const auto& path : archives_) {
      ArchiveReader reader(path);
      const std::string prefix = archives_.size() == 1 ? "" : path.filename().string() + "/";
      while (const auto name = reader.next()) visit(reader, prefix + *name);
    }
  }

  std::vector<fs::path> archives_;
  SourceLimits limits_;
  std::vector<std::int64_t> item_of_file_;  // by place in the archives: index into the catalogue's items, or -1
};

bool is_tar_name(const std::string& name) {
  return name.ends_with(".tar") || name.ends_with(".tar.gz") || name.ends_with(".tgz") || name.ends_with(".tar.zst");
}

/// The .tar files directly in a folder, in natural order.
std::vector<fs::path> tar_shards(const fs::path& folder) {
  std::vector<fs::path> shards;
  std::error_code code;
  for (fs::directory_iterator iterator(folder, code), end; !code && iterator != end; iterator.increment(code)) {
    if (is_tar_name(iterator->path().filename().string()) && iterator->is_regular_file(code)) {
      shards.push_back(iterator->path());
    }
  }
  std::sort(shards.begin(), shards.end(),
            [](const auto& a, const auto& b) { return natural_less(a.string(), b.string()); });
  return shards;
}

/// Whether a folder is its .tar files: it has some, and no images.
bool is_shard_folder(const std::vector<fs::path>& shards, const std::vector<FolderFile>& files) {
  return !shards.empty() &&
         std::none_of(files.begin(), files.end(), [](const auto& file) { return is_image_name(file.name); });
}

/// The archives that a pattern names; every one must be there, no two of one file name.
std::vector<fs::path> named_archives(const fs::path& path) {
  auto archives = expand_pattern(path);
  std::set<std::string> names;
  for (const auto& archive : archives) {
    std::error_code code;
    require(fs::is_regular_file(archive, code), "{}: no such file{}", archive.string(),
            archives.size() > 1 ? fmt::format(" (of {})", path.string()) : " or folder");
    require(names.insert(archive.filename().string()).second, "{}: names two archives '{}'", path.string(),
            archive.filename().string());
  }
  return archives;
}

void add_file_state(ContentHash& hash, const fs::path& path) {
  std::error_code code;
  hash.add(fs::weakly_canonical(path, code).string());
  hash.add(static_cast<std::int64_t>(fs::file_size(path, code)));
  hash.add(static_cast<std::int64_t>(fs::last_write_time(path, code).time_since_epoch().count()));
  require(!code, "{}: cannot be read: {}", path.string(), code.message());
}

}  // namespace

std::unique_ptr<ImageSource> open_image_source(const fs::path& path, const SourceLimits& limits) {
  std::error_code code;
  if (fs::is_directory(path, code)) {
    auto shards = tar_shards(path);
    auto files = list_folder(path, limits);
    if (is_shard_folder(shards, files)) return std::make_unique<ArchiveSource>(std::move(shards), limits);
    if (!shards.empty()) log().warn("{}: has images and .tar files, the .tar files are left out", path.string());
    return std::make_unique<FolderSource>(path, files, limits);
  }
  return std::make_unique<ArchiveSource>(named_archives(path), limits);
}

std::string source_fingerprint(const fs::path& path, const SourceLimits& limits) {
  ContentHash hash;
  std::error_code code;
  if (!fs::is_directory(path, code)) {
    for (const auto& archive : named_archives(path)) add_file_state(hash, archive);
    return hash.hex();
  }
  const auto shards = tar_shards(path);
  const auto files = list_folder(path, limits);
  if (is_shard_folder(shards, files)) {
    for (const auto& shard : shards) add_file_state(hash, shard);
    return hash.hex();
  }
  hash.add(fs::weakly_canonical(path, code).string());
  for (const auto& file : files) hash.add(file.name).add(static_cast<std::int64_t>(file.bytes)).add(file.changed);
  return hash.hex();
}

}  // namespace tessera
