/// Where a data set's files lie: a folder, a zip, tar shards. One interface to list them and to read them once.
/// Archives are untrusted: entries are bounded in size and number, nothing is extracted, names are only names.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data/catalogue.h"

namespace tessera {

struct SourceLimits {
  std::int64_t max_entries = 5'000'000;                      // files in all
  std::uint64_t max_entry_bytes = std::uint64_t{256} << 20;  // of one image, uncompressed
  std::uint64_t max_text_bytes = std::uint64_t{512} << 20;   // metadata, captions and labels in all
};

/// Receives a source's images, each once, in the order in which they are stored.
class ImageSink {
 public:
  virtual ~ImageSink() = default;
  /// Whether the item is to be read; the others are passed over.
  virtual bool wants(std::size_t /*item*/) const { return true; }
  /// In: item, an index into the catalogue's items.
  virtual void receive(std::size_t item, std::vector<std::uint8_t> bytes) = 0;
  /// The item cannot be read.
  virtual void unreadable(std::size_t item, std::string message) = 0;
};

class ImageSource {
 public:
  virtual ~ImageSource() = default;
  const Catalogue& catalogue() const { return catalogue_; }
  /// Reads every image of the catalogue. Throws Error where the source as a whole is broken (a truncated archive).
  virtual void read_all(ImageSink& sink) const = 0;

 protected:
  Catalogue catalogue_;
};

/// In: a folder of images (with class sub-folders or metadata) or of archives, a .zip or a .tar (also .gz, .zst).
/// Throws Error where there is no such file, it is none of these, or the choice names a field that is nowhere.
std::unique_ptr<ImageSource> open_image_source(const std::filesystem::path& path, const SourceLimits& limits = {},
                                               const CatalogueChoice& choice = {});

/// A hash over what tells one state of the source from another: path, names, sizes, times of last change.
std::string source_fingerprint(const std::filesystem::path& path, const SourceLimits& limits = {});

}  // namespace tessera
