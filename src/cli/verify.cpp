/// `tessera verify`: compares what was stored with the hashes and checksums that were recorded with it.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <memory>
#include <vector>

#include "checkpoint/bundle.h"
#include "checkpoint/bundle_record.h"
#include "checkpoint/safetensors_header.h"
#include "cli/result_line.h"
#include "cli/verbs.h"
#include "data/pack_file.h"
#include "runtime/error.h"

namespace tessera::cli {
namespace {

namespace fs = std::filesystem;

/// Throws Error naming what is damaged.
void verify_file(const fs::path& file) {
  if (is_pack(file)) {
    (void)read_pack(file, nullptr, std::numeric_limits<std::uint64_t>::max());
  } else {
    (void)read_safetensors_entries(file);
  }
}

/// Every file of a folder that carries a checksum, and a bundle's recorded hashes. Out: the files.
std::vector<fs::path> verify_folder(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const auto& path = entry.path();
    if (entry.is_regular_file() && (path.extension() == ".safetensors" || is_pack(path))) files.push_back(path);
  }
  std::sort(files.begin(), files.end());
  for (const auto& file : files) verify_file(file);
  if (fs::exists(folder / "model_index.json")) (void)load_bundle(folder);
  require(!files.empty(),
          "{}: holds nothing that can be verified, expected a model folder, .safetensors or "
          ".tessera-pack files",
          folder.string());
  return files;
}

void verify(const std::vector<std::string>& paths, bool record, bool json) {
  std::vector<std::string> verified;
  for (const auto& path : paths) {
    if (record) record_bundle(path);
    std::vector<fs::path> files = {path};
    if (fs::is_directory(path)) {
      files = verify_folder(path);
    } else {
      require(fs::exists(path), "{}: no such file or folder", path);
      verify_file(path);
    }
    for (const auto& file : files) {
      verified.push_back(file.string());
      if (!json) std::printf("ok  %s\n", file.c_str());
    }
  }
  if (json) print_result(true, {{"ok", verified}}, "");
}

}  // namespace

void add_verify(CLI::App& app) {
  auto paths = std::make_shared<std::vector<std::string>>();
  auto* verb = app.add_subcommand("verify", "compare stored files with the hashes recorded with them");
  verb->add_option("paths", *paths, "Model folders, .safetensors and .tessera-pack files")->required();
  auto record = std::make_shared<bool>(false);
  verb->add_flag("--record", *record, "model folders: record the configurations as they are now, changed on purpose");
  auto json = std::make_shared<bool>(false);
  verb->add_flag("--json", *json, kJsonHelp);
  verb->callback([paths, record, json] { verify(*paths, *record, *json); });
}

}  // namespace tessera::cli
