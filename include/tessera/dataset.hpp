/// Data sets as trainings read them.
#pragma once

#include <tessera/image.hpp>
#include <tessera/options.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace tessera {

/// A folder, zip, tar shards or .tessera-pack of images with captions and labels. By one thread at a time.
class Dataset {
 public:
  /// options: "size" (pixels a side; 0: a pack's own), "split" ("all", "train", "validation", "test"), "where" (a list
  /// like "style=flat"), "split_field", "seed", "validation_fraction". Throws Error.
  explicit Dataset(const std::string& path, const Options& options = {}) {
    tessera_dataset* dataset = nullptr;
    detail::check(tessera_dataset_open(detail::c_text(path, "path"), options.json().c_str(), &dataset));
    dataset_.reset(dataset);
  }

  std::size_t size() const { return static_cast<std::size_t>(tessera_dataset_count(handle())); }
  bool empty() const { return size() == 0; }
  /// Pixels a side.
  int side() const { return tessera_dataset_size(handle()); }

  /// Image i, RGB, side() x side(). Throws UsageError where there is none.
  Image image(std::size_t i) const {
    require(i);
    Image result(side(), side(), 3);
    read(i, result.data());
    return result;
  }
  /// The same to pixels that the caller holds: side() * side() * 3 bytes.
  void read(std::size_t i, std::uint8_t* pixels) const {
    require(i);
    detail::check(tessera_dataset_image(handle(), static_cast<std::int64_t>(i), pixels));
  }
  /// JSON: "name", "captions", "label", "class", "fields", what there is of it.
  std::string record(std::size_t i) {
    require(i);
    const char* text = tessera_dataset_record(handle(), static_cast<std::int64_t>(i));
    if (!text) detail::throw_error(TESSERA_FAILED);
    return text;
  }

  /// For calls of the C interface; it stays this object's. Throws UsageError where the data set was moved away.
  tessera_dataset* handle() const {
    if (!dataset_) throw UsageError("data set: it was moved from");
    return dataset_.get();
  }

 private:
  struct Free {
    void operator()(tessera_dataset* dataset) const { tessera_dataset_free(dataset); }
  };
  void require(std::size_t i) const {
    if (i >= size())
      throw UsageError("data set: no image " + std::to_string(i) + ", there are " + std::to_string(size()));
  }

  std::unique_ptr<tessera_dataset, Free> dataset_;
};

}  // namespace tessera
