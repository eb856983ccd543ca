#include "runtime/whole_folder.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <random>
#include <string>

#include "runtime/atomic_file.h"
#include "runtime/error.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kStagedMark = ".staged-";
constexpr std::size_t kStagedDigits = 16;

/// Renames a over b, or exchanges the two, in one step. false: the file system cannot.
bool exchange(const fs::path& a, const fs::path& b, bool both) {
  return ::syscall(SYS_renameat2, AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(),
                   both ? RENAME_EXCHANGE : RENAME_NOREPLACE) == 0;
}

/// A folder that is locked for as long as it lives.
class LockedFolder {
 public:
  explicit LockedFolder(const fs::path& folder)
      : descriptor_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) {
    if (descriptor_ >= 0 && ::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
      ::close(descriptor_);
      descriptor_ = -1;
    }
  }
  ~LockedFolder() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  LockedFolder(const LockedFolder&) = delete;
  LockedFolder& operator=(const LockedFolder&) = delete;
  bool holds() const { return descriptor_ >= 0; }

 private:
  int descriptor_;
};

/// Removes what processes that were killed left beside `folder`.
void sweep_staged(const fs::path& folder) {
  const auto begin = folder.filename().string() + std::string(kStagedMark);
  std::error_code code;
  for (fs::directory_iterator at(folder.parent_path(), code), end; !code && at != end; at.increment(code)) {
    const auto name = at->path().filename().string();
    const bool staged = name.starts_with(begin) && name.size() == begin.size() + kStagedDigits &&
                        name.find_first_not_of("0123456789abcdef", begin.size()) == std::string::npos;
    if (!staged || !LockedFolder(at->path()).holds()) continue;
    std::error_code ignored;
    fs::remove_all(at->path(), ignored);
  }
}

/// Every file below `from` under the same name below `to`, as a second name of it. false: the file system has no such
/// names.
bool link_all(const fs::path& from, const fs::path& to) {
  std::error_code code;
  for (fs::directory_iterator at(from, code), end; at != end; at.increment(code)) {
    if (code) return false;
    const auto name = to / at->path().filename();
    if (at->is_symlink(code)) {
      fs::copy_symlink(at->path(), name, code);
    } else if (at->is_directory(code)) {
      fs::create_directory(name, at->path(), code);
      if (code || !link_all(at->path(), name)) return false;
    } else if (at->is_regular_file(code)) {
      fs::create_hard_link(at->path(), name, code);
    }
    if (code) return false;
  }
  return !code;
}

/// Whether the process works inside the folder: the one that comes in its place would not be where it stands.
bool is_worked_in(const fs::path& folder) {
  std::error_code code;
  for (auto at = fs::current_path(code); !code && !at.empty(); at = at.parent_path()) {
    if (fs::equivalent(at, folder, code)) return true;
    if (at == at.parent_path()) break;
  }
  return false;
}

std::string with_name(std::string text, const std::string& staged, const std::string& name) {
  for (auto at = text.find(staged); at != std::string::npos; at = text.find(staged, at + name.size()))
    text.replace(at, staged.size(), name);
  return text;
}

}  // namespace

void write_folder_whole(const fs::path& given, const std::function<void(const fs::path&)>& write) {
  std::error_code code;
  auto folder =
      fs::weakly_canonical(fs::absolute(given), code);  // of a bare name that is not there it would be that name
  if (code) folder = fs::absolute(given);
  if (!folder.has_filename()) folder = folder.parent_path();
  const bool there = fs::is_directory(folder, code);
  if (!folder.has_filename() || (!there && fs::exists(folder, code)) || is_worked_in(folder)) return write(given);
  fs::create_directories(folder.parent_path(), code);
  require(!code, "{}: cannot be made: {}", folder.parent_path().string(), code.message());
  sweep_staged(folder);
  std::random_device random;
  auto staged = folder;
  staged += fmt::format("{}{:08x}{:08x}", kStagedMark, static_cast<std::uint32_t>(random()),
                        static_cast<std::uint32_t>(random()));
  if (!fs::create_directory(staged, code)) return write(given);  // the folder above may not be written
  const LockedFolder lock(staged);
  struct Remove {
    const fs::path& path;
    ~Remove() {
      std::error_code ignored;
      fs::remove_all(path, ignored);
    }
  } remove{staged};
  if (there) {
    struct stat status {};
    if (::stat(folder.c_str(), &status) == 0) ::chmod(staged.c_str(), status.st_mode & 07777);
    if (!link_all(folder, staged)) return write(given);
  }
  try {
    write(staged);
  } catch (const UsageError& error) {
    throw UsageError(with_name(error.what(), staged.string(), given.string()));
  } catch (const Error& error) {
    throw Error(with_name(error.what(), staged.string(), given.string()));
  }
  flush_folder(staged);
  if (!exchange(staged, folder, there)) return write(given);
  flush_folder(folder.parent_path());
}

}  // namespace tessera
