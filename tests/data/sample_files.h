/// Folders, archives and pictures made for the tests of data sets.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "data/dataset.h"
#include "image/image_io.h"
#include "runtime/atomic_file.h"
#include "runtime/error.h"

#ifdef TESSERA_WITH_ARCHIVE
#include <archive.h>
#include <archive_entry.h>
#endif

namespace tessera::testing {

namespace fs = std::filesystem;

/// A folder that is gone after the test.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (fs::temp_directory_path() / "tessera-data-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code code;
    fs::remove_all(path_, code);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  fs::path operator/(const std::string& name) const { return path_ / name; }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

using NamedBytes = std::vector<std::pair<std::string, std::string>>;

/// A PNG whose every pixel tells its number: red `number`, green 100, blue falling from left to right.
inline std::string numbered_png(int number, int side = 16) {
  Image image(side, side);
  for (int y = 0; y < side; ++y) {
    for (int x = 0; x < side; ++x) {
      const std::uint8_t pixel[3] = {static_cast<std::uint8_t>(number), 100, static_cast<std::uint8_t>(250 - 5 * x)};
      std::memcpy(image.at(x, y), pixel, 3);
    }
  }
  return encode_png(image);
}

/// Without the flush to the disk that write_file_atomically waits for.
inline void put_file(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

inline void write_folder(const fs::path& folder, const NamedBytes& files) {
  for (const auto& [name, bytes] : files) {
    fs::create_directories((folder / name).parent_path());
    put_file(folder / name, bytes);
  }
}

#ifdef TESSERA_WITH_ARCHIVE
/// In: path ending in .zip, .tar or .tar.gz. Names are stored as given, hostile ones too.
inline void write_archive(const fs::path& path, const NamedBytes& files) {
  ::archive* writer = archive_write_new();
  if (path.extension() == ".zip") {
    archive_write_set_format_zip(writer);
  } else {
    archive_write_set_format_ustar(writer);
    if (path.extension() == ".gz") archive_write_add_filter_gzip(writer);
  }
  ASSERT_EQ(archive_write_open_filename(writer, path.c_str()), ARCHIVE_OK);
  for (const auto& [name, bytes] : files) {
    ::archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, name.c_str());
    archive_entry_set_size(entry, static_cast<la_int64_t>(bytes.size()));
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    ASSERT_EQ(archive_write_header(writer, entry), ARCHIVE_OK) << archive_error_string(writer);
    ASSERT_EQ(archive_write_data(writer, bytes.data(), bytes.size()), static_cast<la_ssize_t>(bytes.size()));
    archive_entry_free(entry);
  }
  ASSERT_EQ(archive_write_close(writer), ARCHIVE_OK);
  archive_write_free(writer);
}
#endif

/// Options that touch nothing outside the test.
inline DatasetOptions options_for(const fs::path& path, std::int64_t size = 16) {
  DatasetOptions options;
  options.path = path;
  options.size = size;
  options.validation_fraction = 0;
  options.use_cache = false;
  options.threads = 2;
  return options;
}

/// The number that numbered_png wrote into image `index`.
inline int number_of(const Dataset& dataset, std::int64_t index) {
  return dataset.images()[index][0][3][3].item<int>();
}

inline std::vector<std::string> names_of(const Dataset& dataset) {
  std::vector<std::string> names;
  for (std::int64_t i = 0; i < dataset.size(); ++i) names.push_back(dataset.file_name(i));
  return names;
}

/// The message of the Error that the call throws; empty: it threw none.
inline std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// A data set made without files: image i is filled with the value i, but for its left column of zeros.
inline Dataset synthetic_dataset(std::int64_t count, std::int64_t side, double validation_fraction = 0,
                                 Seed split_seed = 0) {
  DatasetContent content;
  content.images = torch::empty({count, 3, side, side}, torch::kUInt8);
  for (std::int64_t i = 0; i < count; ++i) {
    content.images[i].fill_(i % 250 + 1);
    content.images[i].select(2, 0).fill_(0);
    content.items.push_back({"image-" + std::to_string(i) + ".png", "caption " + std::to_string(i), i % 3, "{}"});
  }
  content.class_names = {"a", "b", "c"};
  return Dataset(std::move(content), validation_fraction, split_seed);
}

}  // namespace tessera::testing
