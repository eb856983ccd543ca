#include "runtime/shipped_files.h"

#include <cstdlib>
#include <system_error>

namespace tessera {

namespace fs = std::filesystem;

std::optional<fs::path> find_shipped(const std::string& name) {
  std::error_code code;
  if (const char* home = std::getenv("TESSERA_HOME"); home != nullptr && *home != '\0') {
    if (fs::exists(fs::path(home) / name, code)) return fs::path(home) / name;
  }
  const auto program = fs::read_symlink("/proc/self/exe", code);
  if (code) return {};
  const auto installed = program.parent_path().parent_path() / "share" / "tessera" / name;
  if (fs::exists(installed, code)) return installed;
  constexpr int kLevels = 5;  // build/release/bin/tessera lies three below the checkout
  auto folder = program.parent_path();
  for (int level = 0; level < kLevels && folder.has_relative_path(); ++level) {
    if (fs::exists(folder / name, code)) return folder / name;
    folder = folder.parent_path();
  }
  return {};
}

}  // namespace tessera
