/// One writer a folder: two trainings into one folder would overwrite each other's state.
#pragma once

#include <filesystem>
#include <vector>

namespace tessera {

/// Holds `<folder>/.lock` for as long as it lives; the system lets go of it when the process ends, however it ends. The
/// file says which process it is. Given back, the file goes, and with it the folders that were made for it and that
/// nothing else was put into.
class FolderLock {
 public:
  /// Makes the folder where it is missing. Throws Error naming the folder and the process that holds it.
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  std::filesystem::path file_;
  std::vector<std::filesystem::path> made_;  // folders that were not there before, innermost first
  int descriptor_ = -1;
};

}  // namespace tessera
