#include "data/image_source.h"

#include <algorithm>
#include <set>

#include "data/archive_reader.h"
#include "data/content_hash.h"
#include "data/folder_walk.h"
#include "data/shard_pattern.h"
#include "image/contact_sheet.h"
#include "runtime/atomic_file.h"
#include "runtime/error.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

bool is_tar_name(const std::string& name) {
  const auto ending = ending_of(name);
  const bool packed = ending == "gz" || ending == "zst";
  return ending == "tar" || ending == "tgz" || (packed && ending_of(without_ending(name)) == "tar");
}

bool is_archive_name(const std::string& name) {
  return is_tar_name(name) || ending_of(name) == "zip";
}

/// Adds a text to the catalogue's input while the sum stays within its limit.
class TextBudget {
 public:
  explicit TextBudget(std::uint64_t bytes) : left_(bytes) {}
  std::uint64_t left() const { return left_; }
  void keep(CatalogueInput& input, const std::string& name, std::string text) {
    left_ -= std::min<std::uint64_t>(left_, text.size());
    input.texts.emplace(name, std::move(text));
  }

 private:
  std::uint64_t left_;
};

/// Git writes a link as a text of its target where links are not allowed.
bool is_written_link(const fs::path& root, const FolderFile& file) {
  constexpr std::uint64_t kLongest = 1024;
  if (file.bytes == 0 || file.bytes > kLongest || !ending_of(file.name).empty()) return false;
  try {
    const auto target = read_file(root / file.name, kLongest);
    std::error_code code;
    return target.find('/') != std::string::npos && target.find_first_of("\n\r\0", 0, 3) == std::string::npos &&
           fs::exists((root / file.name).parent_path() / target, code);
  } catch (const Error&) {
    return false;
  }
}

/// Whether a file may be a contact sheet of this program by its name: only then its bytes are looked at.
bool has_name_of_sheet(const std::string& name) {
  std::string base(base_name(name));
  if (base.starts_with("mask-")) std::erase_if(base, [](unsigned char c) { return c == '-' || std::isdigit(c) != 0; });
  return base == "sheet.png" || base == "neighbours.png" || base == "beside.png" || base == "mask.png";
}

bool is_sheet_file(const fs::path& file) {
  try {
    return is_contact_sheet(read_file(file, SourceLimits{}.max_entry_bytes));
  } catch (const Error&) {
    return false;  // whoever reads it as a picture says why
  }
}

/// Adds a folder's files to the catalogue's input, and reads its texts.
void add_files(const fs::path& root, const std::vector<FolderFile>& files, TextBudget& budget, CatalogueInput& input) {
  for (const auto& file : files) {
    if (is_archive_name(file.name) && !is_hidden_name(file.name)) {
      input.others.push_back({file.name, "an archive beside pictures; give it to --data by itself", false});
      continue;
    }
    if (is_written_link(root, file)) {
      input.others.push_back({file.name, "a link written as a text, as Git does where links are not allowed", false});
      continue;
    }
    if (is_text_name(file.name)) budget.keep(input, file.name, read_file(root / file.name, budget.left()));
    if (has_name_of_sheet(file.name) && is_sheet_file(root / file.name)) input.sheets.insert(file.name);
    input.names.push_back(file.name);
  }
}

class FolderSource : public ImageSource {
 public:
  FolderSource(fs::path root, FolderListing listing, const SourceLimits& limits, const CatalogueChoice& choice)
      : root_(std::move(root)), limits_(limits) {
    CatalogueInput input;
    input.choice = choice;
    input.others = std::move(listing.others);
    TextBudget budget(limits.max_text_bytes);
    for (const auto& file : listing.files) input.max_value_bytes += is_text_name(file.name) ? file.bytes : 0;
    add_files(root_, listing.files, budget, input);
    catalogue_ = make_catalogue(input);
  }

  void read_all(ImageSink& sink) const override {
    for (std::size_t i = 0; i < catalogue_.items.size(); ++i) {
      if (!sink.wants(i)) continue;
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

/// Archives that are one source, and what lies beside them.
struct ArchiveSet {
  std::vector<fs::path> archives;
  std::vector<std::string> prefixes;  // before the names in each: "shard-000.tar/"; empty where there is one archive
  bool folders_are_classes = true;
  fs::path root;                   // of the folder that they lie in; empty: none was given
  std::vector<FolderFile> beside;  // the folder's other files
  std::vector<LeftOut> others;
};

/// One archive, or several read one after another as one.
class ArchiveSource : public ImageSource {
 public:
  ArchiveSource(ArchiveSet set, const SourceLimits& limits, const CatalogueChoice& choice)
      : set_(std::move(set)), limits_(limits) {
    CatalogueInput input;
    input.choice = choice;
    input.folders_are_classes = set_.folders_are_classes;
    input.others = set_.others;
    for (std::size_t i = 0; i < set_.archives.size(); ++i) {
      if (!set_.prefixes[i].empty()) input.archives.push_back(set_.prefixes[i]);
      input.from_tar = input.from_tar || is_tar_name(set_.archives[i].filename().string());
    }
    // What texts may unpack to, and what may be made of them, follows the archives' own size.
    constexpr std::uint64_t kPlainText = std::uint64_t{64} << 20, kMostText = 20;
    std::uint64_t packed = 0;
    std::error_code code;
    for (const auto& archive : set_.archives) packed += fs::file_size(archive, code);
    input.max_value_bytes += packed;
    TextBudget budget(std::min(limits.max_text_bytes, kPlainText + kMostText * packed));
    walk(
        [&](ArchiveReader& reader, const std::string& name) {
          require(static_cast<std::int64_t>(input.names.size()) < limits.max_entries, "{}: more than {} files",
                  set_.archives.front().string(), limits.max_entries);
          input.names.push_back(name);
          if (has_name_of_sheet(name)) {
            note_sheet(reader, name, input);
            return;
          }
          if (!is_text_name(name) || !is_safe_name(name) || input.texts.contains(name)) return;
          const auto bytes = reader.read(budget.left());
          budget.keep(input, name, {bytes.begin(), bytes.end()});
        },
        [&](const ArchiveReader& reader, const std::string& prefix) {
          for (const auto& [name, why] : reader.passed_over()) input.others.push_back({prefix + name, why, false});
          if (auto note = reader.note(); !note.empty()) input.notes.push_back(std::move(note));
        });
    const auto members = input.names.size();
    add_files(set_.root, set_.beside, budget, input);
    catalogue_ = make_catalogue(input);
    item_of_file_.assign(members, -1);
    for (std::size_t i = 0; i < catalogue_.items.size(); ++i) {
      item_of_file_.at(catalogue_.items[i].file) = static_cast<std::int64_t>(i);
    }
  }

  void read_all(ImageSink& sink) const override {
    std::size_t file = 0;
    walk(
        [&](ArchiveReader& reader, const std::string& name) {
          require(file < item_of_file_.size(), "{}: changed while it was read", set_.archives.front().string());
          const std::int64_t item = item_of_file_[file++];
          if (item < 0 || !sink.wants(static_cast<std::size_t>(item))) return;
          const auto place = static_cast<std::size_t>(item);
          require(catalogue_.items[place].name == name, "{}: changed while it was read",
                  set_.archives.front().string());
          std::vector<std::uint8_t> bytes;
          try {
            bytes = reader.read(limits_.max_entry_bytes);
          } catch (const Error& error) {
            sink.unreadable(place, error.what());
            return;
          }
          sink.receive(place, std::move(bytes));
        },
        [](const ArchiveReader&, const std::string&) {});
  }

 private:
  /// Calls visit(reader, name) for every file of every archive, and end(reader, prefix) behind the last of each.
  template <typename Visit, typename End>
  void walk(Visit visit, End end) const {
    for (std::size_t i = 0; i < set_.archives.size(); ++i) {
      ArchiveReader reader(set_.archives[i]);
      while (const auto name = reader.next()) visit(reader, set_.prefixes[i] + *name);
      end(reader, set_.prefixes[i]);
    }
  }

  void note_sheet(ArchiveReader& reader, const std::string& name, CatalogueInput& input) const {
    try {
      const auto bytes = reader.read(limits_.max_entry_bytes);
      if (is_contact_sheet({reinterpret_cast<const char*>(bytes.data()), bytes.size()})) input.sheets.insert(name);
    } catch (const Error&) {
      return;  // whoever reads it as a picture says why
    }
  }

  ArchiveSet set_;
  SourceLimits limits_;
  std::vector<std::int64_t> item_of_file_;  // by place in the archives: index into the catalogue's items, or -1
};

/// The archives of a folder that holds no pictures of its own; none: it has pictures, or no archives.
ArchiveSet archives_in(const fs::path& root, const FolderListing& listing) {
  ArchiveSet set;
  const auto is_picture = [](const auto& file) { return is_image_name(file.name); };
  if (std::any_of(listing.files.begin(), listing.files.end(), is_picture)) return set;
  set.root = root;
  set.others = listing.others;
  for (const auto& file : listing.files) {
    if (!is_archive_name(file.name) || is_hidden_name(file.name)) {
      set.beside.push_back(file);
      continue;
    }
    set.archives.push_back(root / file.name);
    set.prefixes.push_back(file.name + "/");
    if (is_tar_name(file.name)) set.folders_are_classes = false;
  }
  if (set.archives.size() == 1) {
    set.folders_are_classes = true;
    set.prefixes.front().clear();
  }
  return set;
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

ArchiveSet named_set(const fs::path& path) {
  ArchiveSet set;
  set.archives = named_archives(path);
  set.folders_are_classes = set.archives.size() == 1;
  for (const auto& archive : set.archives)
    set.prefixes.push_back(set.archives.size() == 1 ? "" : archive.filename().string() + "/");
  return set;
}

}  // namespace

std::unique_ptr<ImageSource> open_image_source(const fs::path& path, const SourceLimits& limits,
                                               const CatalogueChoice& choice) {
  std::error_code code;
  if (!fs::is_directory(path, code)) return std::make_unique<ArchiveSource>(named_set(path), limits, choice);
  auto listing = list_folder(path, limits.max_entries);
  auto set = archives_in(path, listing);
  if (!set.archives.empty()) return std::make_unique<ArchiveSource>(std::move(set), limits, choice);
  return std::make_unique<FolderSource>(path, std::move(listing), limits, choice);
}

std::string source_fingerprint(const fs::path& path, const SourceLimits& limits) {
  ContentHash hash;
  std::error_code code;
  if (!fs::is_directory(path, code)) {
    for (const auto& archive : named_archives(path)) add_file_state(hash, archive);
    return hash.hex();
  }
  const auto listing = list_folder(path, limits.max_entries);
  hash.add(fs::weakly_canonical(path, code).string());
  for (const auto& file : listing.files) {
    if (is_hidden_name(file.name)) continue;
    const bool read = is_image_name(file.name) || is_text_name(file.name) || is_archive_name(file.name);
    hash.add(file.name).add(read ? static_cast<std::int64_t>(file.bytes) : 0).add(read ? file.changed : 0);
  }
  for (const auto& other : listing.others) hash.add(other.name).add(other.reason);
  return hash.hex();
}

}  // namespace tessera
