#include "data/folder_walk.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <set>
#include <utility>

#include "runtime/error.h"

namespace tessera {
namespace {

using FolderId = std::pair<std::uint64_t, std::uint64_t>;  // device, inode

FolderId id_of(const struct stat& state) {
  return {static_cast<std::uint64_t>(state.st_dev), static_cast<std::uint64_t>(state.st_ino)};
}

/// The names in a folder, in natural order; in `problem`, why it cannot be read.
std::vector<std::string> names_in(const std::string& folder, std::string& problem) {
  std::vector<std::string> names;
  DIR* handle = ::opendir(folder.c_str());
  if (handle == nullptr) {
    problem = std::strerror(errno);
    return names;
  }
  while (const auto* entry = ::readdir(handle)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  ::closedir(handle);
  std::sort(names.begin(), names.end(), [](const auto& a, const auto& b) { return natural_less(a, b); });
  return names;
}

class Walk {
 public:
  Walk(std::string root, std::int64_t max_entries) : root_(std::move(root)), left_(max_entries), limit_(max_entries) {}

  FolderListing run() {
    struct stat state {};
    require(::stat(root_.c_str(), &state) == 0, "{}: cannot be read: {}", root_, std::strerror(errno));
    seen_.insert(id_of(state));
    waiting_.push_back("");
    // Links wait until all that truly lies there is read, so that no link takes a folder's place.
    while (!waiting_.empty() || !links_.empty()) {
      if (waiting_.empty()) {
        follow(links_.front());
        links_.pop_front();
        continue;
      }
      const auto folder = waiting_.back();
      waiting_.pop_back();
      read(folder);
    }
    std::sort(listing_.files.begin(), listing_.files.end(),
              [](const auto& a, const auto& b) { return natural_less(a.name, b.name); });
    return std::move(listing_);
  }

 private:
  std::string path_of(const std::string& name) const { return name.empty() ? root_ : root_ + "/" + name; }

  void leave_out(const std::string& name, std::string reason, bool expected = false) {
    listing_.others.push_back({name, std::move(reason), expected || is_hidden_name(name)});
  }

  void read(const std::string& folder) {
    std::string problem;
    const auto names = names_in(path_of(folder), problem);
    if (!problem.empty()) {
      require(!folder.empty(), "{}: cannot be read: {}", root_, problem);
      leave_out(folder, "a folder that cannot be read: " + problem);
      return;
    }
    for (const auto& own : names) {
      require(--left_ >= 0, "{}: more than {} files", root_, limit_);
      add(folder.empty() ? own : folder + "/" + own);
    }
  }

  void add(const std::string& name) {
    struct stat state {
    }, itself{};
    if (::lstat(path_of(name).c_str(), &itself) != 0) return leave_out(name, std::strerror(errno));
    const bool link = S_ISLNK(itself.st_mode);
    if (::stat(path_of(name).c_str(), &state) != 0)
      return leave_out(name, link ? "a broken link" : std::strerror(errno));
    if (S_ISDIR(state.st_mode)) {
      if (link) {
        links_.push_back(name);
      } else if (seen_.insert(id_of(state)).second) {
        waiting_.push_back(name);
      }
    } else if (S_ISREG(state.st_mode)) {
      listing_.files.push_back({name, static_cast<std::uint64_t>(state.st_size),
                                std::int64_t{state.st_mtim.tv_sec} * 1'000'000'000 + state.st_mtim.tv_nsec});
    } else {
      leave_out(name, "no regular file");
    }
  }

  void follow(const std::string& name) {
    struct stat state {};
    if (::stat(path_of(name).c_str(), &state) != 0) return leave_out(name, "a broken link");
    if (seen_.insert(id_of(state)).second) {
      waiting_.push_back(name);
    } else {
      leave_out(name, "a link to a folder that is read already", true);
    }
  }

  std::string root_;
  std::int64_t left_, limit_;
  std::set<FolderId> seen_;
  std::vector<std::string> waiting_;
  std::deque<std::string> links_;
  FolderListing listing_;
};

}  // namespace

FolderListing list_folder(const std::filesystem::path& root, std::int64_t max_entries) {
  return Walk(root.string(), max_entries).run();
}

}  // namespace tessera
