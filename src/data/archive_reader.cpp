#include "data/archive_reader.h"

#include <algorithm>

#include "runtime/error.h"
#include "runtime/printable.h"

#ifdef TESSERA_WITH_ARCHIVE
#include <archive.h>
#include <archive_entry.h>

namespace tessera {
namespace {

// What an archive may unpack to, whatever is skipped with it, and what its names may take: some bytes of its own, and
// more where the archive is large. Texts shrink to a tenth or so, pictures hardly at all.
constexpr std::uint64_t kPlainUnpacked = std::uint64_t{512} << 20, kMostUnpacked = 100;
constexpr std::uint64_t kPlainNames = std::uint64_t{128} << 20, kMostNames = 4;
constexpr std::uint64_t kNameBytes = 400;  // of a file in all lists, beside its name

std::string reason(::archive* archive) {
  const char* text = archive_error_string(archive);
  return text ? printable(text) : "unknown reason";
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<signed char>(c) >= 0; });
}

/// The same but for which separator is written.
bool same_path(std::string_view left, std::string_view right) {
  const auto slash = [](char c) { return c == '\\' ? '/' : c; };
  return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                    [&](char a, char b) { return slash(a) == slash(b); });
}

}  // namespace

ArchiveReader::ArchiveReader(const std::filesystem::path& path) : path_(path.string()) {
  std::error_code code;
  packed_ = std::filesystem::file_size(path, code);
  require(!code, "{}: cannot be read: {}", path_, code.message());
  archive_ = archive_read_new();
  require(archive_ != nullptr, "{}: out of memory", path_);
  archive_read_support_format_zip(archive_);
  archive_read_support_format_tar(archive_);
  archive_read_support_filter_gzip(archive_);
  archive_read_support_filter_zstd(archive_);
  if (archive_read_open_filename(archive_, path_.c_str(), std::size_t{1} << 16) != ARCHIVE_OK) {
    const std::string message = reason(archive_);
    archive_read_free(archive_);
    fail("{}: not a zip or tar archive: {}", path_, message);
  }
}

ArchiveReader::~ArchiveReader() {
  archive_read_free(archive_);
}

/// The name of the entry just read, without "./" at its start.
std::string ArchiveReader::entry_name() {
  const auto place = entries_++;
  const char* own = archive_entry_pathname(entry_);
  if (own == nullptr) own = archive_entry_pathname_utf8(entry_);
  std::string name = own ? own : fmt::format("unnamed-{}", files_);
  if ((archive_format(archive_) & ARCHIVE_FORMAT_BASE_MASK) == ARCHIVE_FORMAT_ZIP) {
    if (place == 0) zip_names_ = read_zip_names(path_);
    const bool known = zip_names_ && place < zip_names_->names.size();
    // libarchive reads names through the locale. What is ASCII must agree, or the two walk in different orders.
    if (known && own && is_ascii(zip_names_->raw[place]) && !same_path(name, zip_names_->raw[place]) &&
        !same_path(name, zip_names_->names[place]))
      zip_names_.reset();
    if (known && zip_names_) name = zip_names_->names[place];
  }
  while (name.starts_with("./")) name.erase(0, 2);
  return name;
}

void ArchiveReader::charge_entry() {
  described_ += name_.size() + kNameBytes;
  require(described_ <= kPlainNames + kMostNames * packed_, "{}: lists far more files than {} bytes can hold", path_,
          packed_);
  const auto declared = archive_entry_size_is_set(entry_) != 0 ? archive_entry_size(entry_) : 0;
  unpacked_ += static_cast<std::uint64_t>(std::max<la_int64_t>(declared, 0));
  require(unpacked_ <= kPlainUnpacked + kMostUnpacked * packed_,
          "{}: {}: would unpack to far more than the archive's {} bytes", path_, printable(name_), packed_);
}

std::optional<std::string> ArchiveReader::next() {
  while (true) {
    const int status = archive_read_next_header(archive_, &entry_);
    if (status == ARCHIVE_EOF) return std::nullopt;
    require(status == ARCHIVE_OK || status == ARCHIVE_WARN, "{}: broken after {} files: {}", path_, files_,
            reason(archive_));
    name_ = entry_name();
    charge_entry();
    const auto type = archive_entry_filetype(entry_);
    if (type == AE_IFDIR) continue;
    if (archive_entry_hardlink(entry_) != nullptr) {
      passed_over_.emplace_back(name_, "a link to another file of the archive");
    } else if (type == AE_IFLNK) {
      passed_over_.emplace_back(name_, "a link, which is not followed in an archive");
    } else if (type != AE_IFREG) {
      passed_over_.emplace_back(name_, "no regular file");
    } else {
      ++files_;
      return name_;
    }
  }
}

std::string ArchiveReader::note() const {
  if (!zip_names_ || zip_names_->guessed == 0) return {};
  return fmt::format("{}: {} names do not say their encoding, taken for {}", path_, zip_names_->guessed,
                     zip_names_->guess);
}

std::vector<std::uint8_t> ArchiveReader::read(std::uint64_t max_bytes) {
  std::vector<std::uint8_t> bytes;
  const auto where = [&] { return fmt::format("{}: {}", path_, printable(name_)); };
  if (archive_entry_size_is_set(entry_) != 0) {
    const auto declared = static_cast<std::uint64_t>(archive_entry_size(entry_));
    require(declared <= max_bytes, "{}: {} bytes, expected at most {}", where(), declared, max_bytes);
  }
  // Memory follows the bytes that arrive, not the size that the header declares.
  std::vector<std::uint8_t> chunk(std::size_t{1} << 16);
  while (true) {
    const la_ssize_t count = archive_read_data(archive_, chunk.data(), chunk.size());
    require(count >= 0, "{}: cannot be read: {}", where(), reason(archive_));
    if (count == 0) return bytes;
    if (archive_entry_size_is_set(entry_) == 0) unpacked_ += static_cast<std::uint64_t>(count);
    require(static_cast<std::uint64_t>(count) <= max_bytes - bytes.size(), "{}: more than {} bytes", where(),
            max_bytes);
    bytes.insert(bytes.end(), chunk.begin(), chunk.begin() + count);
  }
}

}  // namespace tessera

#else

namespace tessera {

ArchiveReader::ArchiveReader(const std::filesystem::path& path) {
  fail("{}: this build has no libarchive; expected a folder or a .tessera-pack", path.string());
}
ArchiveReader::~ArchiveReader() = default;
std::optional<std::string> ArchiveReader::next() {
  return std::nullopt;
}
std::vector<std::uint8_t> ArchiveReader::read(std::uint64_t) {
  return {};
}
std::string ArchiveReader::note() const {
  return {};
}

}  // namespace tessera

#endif
