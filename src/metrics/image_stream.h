/// Pictures one batch after another, whatever they come from: a data set's split, a folder or archive of files in their
/// own sizes, or pictures in memory. What feature extraction reads.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace tessera {

/// Receives pictures [3, H, W] uint8, each of its own size.
using ImageBatchSink = std::function<void(const std::vector<torch::Tensor>& images)>;

class ImageStream {
 public:
  virtual ~ImageStream() = default;
  virtual std::int64_t count() const = 0;
  /// What the pictures are, for cache names: other pixels, another key. Empty: not to be cached.
  virtual std::string key() const = 0;
  /// Every picture once, `batch` at a time; in the same order every time.
  virtual void read(std::int64_t batch, const ImageBatchSink& sink) const = 0;
};

/// Some images of a data set (as decoded: square, of one size).
std::unique_ptr<ImageStream> dataset_stream(const Dataset& data, std::vector<std::int64_t> indices);

/// Pictures in memory. In: images [N, 3, H, W] uint8; key as ImageStream::key.
std::unique_ptr<ImageStream> tensor_stream(const torch::Tensor& images, std::string key);

/// The pictures of a folder, zip or tar in their own sizes, undistorted. A file that cannot be decoded is an Error that
/// names it: a figure over fewer pictures than asked for would be another figure. limit: the first so many; 0: all.
std::unique_ptr<ImageStream> file_stream(const std::filesystem::path& path, std::int64_t limit = 0);

}  // namespace tessera
