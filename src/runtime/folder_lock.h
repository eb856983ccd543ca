/// One writer a folder: two trainings into one folder would overwrite each other's state.
#pragma once

#include <filesystem>

namespace tessera {

/// Holds `<folder>/.lock` for as long as it lives; the system lets go of it when the process ends, however it ends. The
/// file says which process it is and stays behind, empty, when the lock is given back.
class FolderLock {
 public:
  /// Makes the folder where it is missing. Throws Error naming the folder and the process that holds it.
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int descriptor_ = -1;
};

}  // namespace tessera
