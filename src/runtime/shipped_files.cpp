#include "runtime/shipped_files.h"

#include <dlfcn.h>

#include <cstdlib>
#include <system_error>

namespace tessera {

namespace fs = std::filesystem;
namespace {

fs::path program_file() {
  std::error_code code;
  return fs::read_symlink("/proc/self/exe", code);
}

/// The file that this code was loaded from: the program, or libtessera.so in another one.
fs::path library_file() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&library_file), &info) == 0 || info.dli_fname == nullptr) return {};
  std::error_code code;
  return fs::canonical(info.dli_fname, code);
}

}  // namespace

std::optional<fs::path> find_shipped(const std::string& name) {
  std::error_code code;
  if (const char* home = std::getenv("TESSERA_HOME"); home != nullptr && *home != '\0') {
    if (fs::exists(fs::path(home) / name, code)) return fs::path(home) / name;
  }
  for (const auto& origin : {program_file(), library_file()}) {
    constexpr int kLevels = 5;  // build/release/bin/tessera lies three below the checkout
    auto folder = origin.parent_path();
    for (int level = 0; level < kLevels && folder.has_relative_path(); ++level) {
      for (const auto& found : {folder / "share" / "tessera" / name, folder / name}) {
        if (fs::exists(found, code)) return found;
      }
      folder = folder.parent_path();
    }
  }
  return {};
}

fs::path find_model(const fs::path& model) {
  std::error_code code;
  if (model.empty() || fs::exists(model, code) || model.has_parent_path()) return model;
  return find_shipped("models/" + model.string()).value_or(model);
}

}  // namespace tessera
