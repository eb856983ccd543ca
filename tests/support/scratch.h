/// A folder of one's own for a test.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <string>
#include <system_error>

namespace tessera::testing {

/// An empty folder under the system's temporary one, fresh for every call; gone when the program ends.
inline std::filesystem::path scratch_folder(const std::string& name) {
  struct OfProcess {
    const pid_t process = ::getpid();
    const std::filesystem::path folder =
        std::filesystem::temp_directory_path() / ("tessera-tests-" + std::to_string(process));
    ~OfProcess() {
      std::error_code ignored;
      if (::getpid() == process) std::filesystem::remove_all(folder, ignored);  // a child that ends leaves it alone
    }
  };
  static const OfProcess own;
  static int calls = 0;
  const auto folder = own.folder / (name + "-" + std::to_string(calls++));
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder;
}

}  // namespace tessera::testing
