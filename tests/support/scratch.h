/// A folder of one's own for a test.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <string>

namespace tessera::testing {

/// An empty folder under the system's temporary one, fresh for every call.
inline std::filesystem::path scratch_folder(const std::string& name) {
  static int calls = 0;
  const auto folder = std::filesystem::temp_directory_path() /
                      ("tessera-" + name + "-" + std::to_string(::getpid()) + "-" + std::to_string(calls++));
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder;
}

}  // namespace tessera::testing
