#include "cli/picture_files.h"

#include <ATen/Parallel.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "data/file_names.h"
#include "image/contact_sheet.h"
#include "image/record_text.h"
#include "runtime/atomic_file.h"
#include "runtime/error.h"
#include "runtime/log.h"

namespace tessera::cli {
namespace {

namespace fs = std::filesystem;

bool carries_record(const fs::path& file) {
  try {
    return read_png_text(file).contains("tessera");
  } catch (const Error&) {
    return false;
  }
}

/// "00012.png", or one of the sheets.
bool has_name_of_result(const std::string& name) {
  for (const auto* sheet : {"sheet.png", "neighbours.png", "beside.png", "mask.png"}) {
    if (name == sheet) return true;
  }
  const auto digits = std::count_if(name.begin(), name.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
  return digits >= 5 && name.size() == static_cast<std::size_t>(digits) + 4 && name.ends_with(".png");
}

std::vector<fs::path> results_in(const fs::path& folder) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_regular_file() && has_name_of_result(entry.path().filename().string()) && carries_record(entry.path()))
      found.push_back(entry.path());
  }
  return found;
}

fs::path free_sibling(const fs::path& folder) {
  const auto plain = folder.filename().empty() ? folder.parent_path() : folder;
  for (int number = 1;; ++number) {
    fs::path sibling = plain.string() + fmt::format(".{}", number);
    if (!fs::exists(fs::symlink_status(sibling))) return sibling;
  }
}

}  // namespace

PngText picture_text(const nlohmann::json& record) {
  return record_text(record.dump());
}

PngText sheet_text(const nlohmann::json& record) {
  auto text = picture_text(record);
  text[kContactSheetKey] = "no picture of its own";
  return text;
}

void write_pictures(const std::vector<PictureFile>& files) {
  at::parallel_for(0, static_cast<std::int64_t>(files.size()), 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; ++i) {
      const auto& file = files[static_cast<std::size_t>(i)];
      write_png(file.path, file.image, file.text);
    }
  });
}

std::string picture_format(const std::string& output) {
  if (is_standard_output(output)) {
    if (::isatty(STDOUT_FILENO) == 1)
      throw UsageError("--output -: standard output is a terminal, expected a file or another program behind it");
    return "png";
  }
  auto ending = ending_of(output);
  if (ending == "png" || ending == "webp") return ending;
  if (ending == "jpg" || ending == "jpeg") return "jpeg";
  if (is_picture_ending(ending)) {
    throw UsageError(fmt::format(
        "--output {}: expected a folder or a file ending in .png, .jpg or .webp, or - for standard output", output));
  }
  return {};
}

void write_bytes(const std::string& output, const std::string& bytes) {
  if (!is_standard_output(output)) {
    // Its folder is made, as that of many pictures is: what took its time is not lost for want of one.
    std::error_code code;
    if (const auto folder = fs::path(output).parent_path(); !folder.empty()) fs::create_directories(folder, code);
    return write_file_atomically(output, bytes);
  }
  require(std::fwrite(bytes.data(), 1, bytes.size(), stdout) == bytes.size() && std::fflush(stdout) == 0,
          "standard output: cannot be written");
}

void write_picture(const std::string& output, const Image& image, const PngText& text) {
  write_bytes(output, encode_image(image, picture_format(output), text));
}

std::string read_standard_input(std::uint64_t most_bytes) {
  static bool read = false;
  require(!read, "standard input: was read already, expected - once");
  read = true;
  std::string bytes(1 << 16, '\0');
  std::size_t size = 0;
  while (const auto count = std::fread(bytes.data() + size, 1, bytes.size() - size, stdin)) {
    size += count;
    require(size <= most_bytes, "standard input: more than {} bytes", most_bytes);
    if (size == bytes.size()) bytes.resize(2 * size);
  }
  bytes.resize(size);
  return bytes;
}

Image read_picture(const std::string& path, const ReadOptions& options) {
  if (path != "-") return read_image(fs::path(path), options);
  const auto bytes = read_standard_input(options.max_file_bytes);
  return read_image({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}, "standard input", options);
}

void EarlierResults::validate() const {
  if (choice != "aside" && choice != "replace" && choice != "keep")
    throw UsageError(fmt::format("--earlier {}: expected aside, replace or keep", choice));
}

void EarlierResults::make_folder(const fs::path& folder) const {
  fs::create_directories(folder);
  if (choice == "keep") return;
  const auto files = results_in(folder);
  if (files.empty()) return;
  if (choice == "replace") {
    for (const auto& file : files) fs::remove(file);
    return;
  }
  const auto aside = free_sibling(folder);
  fs::create_directory(aside);
  for (const auto& file : files) fs::rename(file, aside / file.filename());
  log().info("{}: {} pictures of an earlier run are in {} now", folder.string(), files.size(), aside.string());
}

}  // namespace tessera::cli
