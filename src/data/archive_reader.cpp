#include "data/archive_reader.h"

#include "runtime/error.h"
#include "runtime/printable.h"

#ifdef TESSERA_WITH_ARCHIVE
#include <archive.h>
#include <archive_entry.h>

namespace tessera {
namespace {

std::string reason(::archive* archive) {
  const char* text = archive_error_string(archive);
  return text ? printable(text) : "unknown reason";
}

}  // namespace

ArchiveReader::ArchiveReader(const std::filesystem::path& path) : path_(path.string()) {
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

std::optional<std::string> ArchiveReader::next() {
  while (true) {
    const int status = archive_read_next_header(archive_, &entry_);
    if (status == ARCHIVE_EOF) return std::nullopt;
    require(status == ARCHIVE_OK || status == ARCHIVE_WARN, "{}: broken after {} files: {}", path_, files_,
            reason(archive_));
    if (archive_entry_filetype(entry_) != AE_IFREG || archive_entry_hardlink(entry_) != nullptr) continue;
    const char* name = archive_entry_pathname_utf8(entry_);
    if (name == nullptr) name = archive_entry_pathname(entry_);
    name_ = name ? name : fmt::format("unnamed-{}", files_);
    if (name_.starts_with("./")) name_.erase(0, 2);
    ++files_;
    return name_;
  }
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

}  // namespace tessera

#endif
