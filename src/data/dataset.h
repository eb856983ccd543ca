/// A set of training images of one size, decoded, with captions, labels and a train/validation split.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/block_checks.h"
#include "data/image_source.h"
#include "data/split.h"
#include "runtime/random.h"
#include "runtime/shard.h"

namespace tessera {

/// $XDG_CACHE_HOME/tessera, else ~/.cache/tessera; empty where neither variable is set.
std::filesystem::path default_cache_folder();

struct DatasetOptions {
  std::filesystem::path path;          // a folder, .zip, .tar, folder of tar shards, or .tessera-pack
  std::int64_t size = 0;               // pixels: images become [size, size]; 0: as packed (.tessera-pack only)
  std::string background = "#ffffff";  // transparent pixels are composited on this
  double validation_fraction = 0.05;   // of the images, in [0, 1); 0: none. Where the source names its validation
                                       // images, these are held out instead
  Seed split_seed = 0;                 // which images those are
  bool strict = false;                 // a broken file is an Error, not a warning
  bool upscale = false;                // accept images smaller than `size`
  std::int64_t max_pixels = std::int64_t{1} << 26;      // of one file; larger is broken
  std::uint64_t memory_limit = std::uint64_t{4} << 30;  // bytes of pixels; larger sets are mapped from the disk
  int threads = 0;                                      // that decode; 0: one a processor
  bool use_cache = true;                                // keep and reuse a packed copy in cache_folder
  std::filesystem::path cache_folder;                   // empty: default_cache_folder()
  SourceLimits limits;
  Shard shard;              // of the images in the source's order: those to decode; of a source that is no pack
  CatalogueChoice choice;   // of captions, parts and pictures
  bool say_account = true;  // log how the files were accounted for and what was assumed; problems are always said
  std::function<void(std::int64_t done, std::int64_t total)> progress;  // called now and then while decoding

  /// Throws Error naming the option.
  void validate() const;
};

/// One image's record.
struct DatasetItem {
  std::string file_name;                        // relative, UTF-8; unique in the set
  std::string caption;                          // empty: none
  std::int64_t label = -1;                      // index into class_names; -1: none
  std::string fields = "{}";                    // JSON object: the other metadata
  std::vector<std::string> more_captions = {};  // further ones beside `caption`
  std::optional<Split> split = {};              // where the source says so
};

/// Images and records as they lie in a .tessera-pack.
struct DatasetContent {
  torch::Tensor images;                       // [n, 3, S, S] uint8, CPU, contiguous
  std::shared_ptr<const BlockChecks> checks;  // of their bytes, where they lie in a file that has them
  std::vector<DatasetItem> items;             // n
  std::vector<std::string> class_names;
  std::vector<std::string> skipped;  // one line a broken file (the first thousand)
  std::int64_t skipped_count = 0;
  std::string key;  // hash of images and records
  // How the source's files were accounted for: files = items + companions + the sum of reasons. 0 files: not known.
  std::int64_t files = 0;
  std::int64_t companions = 0;                  // captions, labels, metadata
  std::map<std::string, std::int64_t> reasons;  // why the others were left out: how many
  std::vector<std::string> notes;               // one line each: what was assumed
  Shard shard;                                  // of the source; whole: all of it
};

/// Immutable; copies share the content.
class Dataset {
 public:
  /// Opens, decodes (or takes from the cache) and splits. Broken files are warned of, counted and skipped.
  /// Throws Error on an empty set, on images that are all too small, on a broken archive, and with `strict` on any
  /// problem.
  static Dataset open(const DatasetOptions& options);
  /// In: content with one record an image. The key is computed here.
  Dataset(DatasetContent content, double validation_fraction, Seed split_seed);

  std::int64_t size() const { return static_cast<std::int64_t>(content_->items.size()); }  // n
  std::int64_t image_size() const { return content_->images.size(2); }                     // S, pixels
  /// [n, 3, S, S] uint8 on the CPU; do not write to it. What lies in a file with checksums is compared with them: all
  /// of it here, those rows alone below. Throws Error where the file is damaged.
  const torch::Tensor& images() const { return rows_checked(0, size()); }
  /// Image `index`, [3, S, S].
  torch::Tensor image(std::int64_t index) const { return rows_checked(index, index + 1)[index]; }
  /// Images [begin, end) as they lie.
  torch::Tensor images(std::int64_t begin, std::int64_t end) const {
    return rows_checked(begin, end).slice(0, begin, end);
  }
  /// Copies of these images. In: [k] int64.
  torch::Tensor images(const torch::Tensor& indices) const;
  const DatasetItem& item(std::int64_t index) const { return content_->items.at(static_cast<std::size_t>(index)); }
  /// The first caption; empty: none.
  const std::string& caption(std::int64_t index) const { return item(index).caption; }
  /// All of them: training draws one at each step.
  std::vector<std::string> captions(std::int64_t index) const;
  std::int64_t label(std::int64_t index) const { return item(index).label; }
  const std::string& file_name(std::int64_t index) const { return item(index).file_name; }
  const std::vector<std::string>& class_names() const { return content_->class_names; }
  bool has_captions() const { return captioned() > 0; }
  /// How many images have a caption.
  std::int64_t captioned() const;
  /// "12 pictures, 6 with a caption", for a message.
  std::string captioned_text() const;
  /// Why there are no captions: where they are looked for, and which fields there are instead.
  std::string no_captions_text() const;
  /// Whether the source itself says which images are for training, validation and test.
  bool has_own_splits() const;
  /// Ascending indices into images(). Whether an image is for validation depends on (split_seed, file name) alone,
  /// unless the source says it.
  const std::vector<std::int64_t>& split(Split split) const;
  /// The same, but an empty split is an Error that says how to mend it.
  const std::vector<std::int64_t>& require_split(Split split) const;
  /// Hash of all pixels and records (64 hexadecimal digits); the split is not part of it. Beside it a run keeps size():
  /// what has changed can then be said in pictures.
  const std::string& key() const { return content_->key; }
  const std::vector<std::string>& skipped() const { return content_->skipped; }
  std::int64_t skipped_count() const { return content_->skipped_count; }
  const DatasetContent& content() const { return *content_; }

  /// Writes a .tessera-pack atomically.
  void save_pack(const std::filesystem::path& path) const;

 private:
  /// All images, of which [begin, end) have been compared with their checksums.
  const torch::Tensor& rows_checked(std::int64_t begin, std::int64_t end) const;

  std::shared_ptr<const DatasetContent> content_;
  double validation_fraction_ = 0;
  std::vector<std::int64_t> train_, validation_, test_, all_;
};

}  // namespace tessera
