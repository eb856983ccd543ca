#include "metrics/image_stream.h"

#include <algorithm>

#include "data/content_hash.h"
#include "data/image_source.h"
#include "image/image_io.h"
#include "runtime/error.h"

namespace tessera {
namespace {

class DatasetStream : public ImageStream {
 public:
  DatasetStream(const Dataset& data, std::vector<std::int64_t> indices) : data_(data), indices_(std::move(indices)) {}

  std::int64_t count() const override { return static_cast<std::int64_t>(indices_.size()); }
  std::string key() const override {
    ContentHash hash;
    hash.add(data_.key());
    for (const auto index : indices_) hash.add(index);
    return "dataset " + hash.hex();
  }
  void read(std::int64_t batch, const ImageBatchSink& sink) const override {
    std::vector<torch::Tensor> images;
    for (const auto index : indices_) {
      images.push_back(data_.image(index));
      if (static_cast<std::int64_t>(images.size()) < batch) continue;
      sink(images);
      images.clear();
    }
    if (!images.empty()) sink(images);
  }

 private:
  Dataset data_;
  std::vector<std::int64_t> indices_;
};

class TensorStream : public ImageStream {
 public:
  TensorStream(torch::Tensor images, std::string key) : images_(std::move(images)), key_(std::move(key)) {}

  std::int64_t count() const override { return images_.size(0); }
  std::string key() const override { return key_; }
  void read(std::int64_t batch, const ImageBatchSink& sink) const override {
    for (std::int64_t start = 0; start < count(); start += batch) {
      sink(images_.slice(0, start, std::min(start + batch, count())).unbind(0));
    }
  }

 private:
  torch::Tensor images_;
  std::string key_;
};

/// Decodes files as they come and hands them on in batches.
class DecodingSink : public ImageSink {
 public:
  DecodingSink(const Catalogue& catalogue, std::size_t limit, std::int64_t batch, const ImageBatchSink& sink)
      : catalogue_(catalogue), limit_(limit), batch_(batch), sink_(sink) {}

  void receive(std::size_t item, std::vector<std::uint8_t> bytes) override {
    if (item >= limit_) return;
    images_.push_back(to_tensor(read_image(bytes, catalogue_.items.at(item).name)));
    if (static_cast<std::int64_t>(images_.size()) == batch_) flush();
  }
  void unreadable(std::size_t item, std::string message) override {
    if (item < limit_) fail("{}: {}", catalogue_.items.at(item).name, message);
  }
  void flush() {
    if (images_.empty()) return;
    sink_(images_);
    images_.clear();
  }

 private:
  const Catalogue& catalogue_;
  std::size_t limit_;
  std::int64_t batch_;
  const ImageBatchSink& sink_;
  std::vector<torch::Tensor> images_;
};

class FileStream : public ImageStream {
 public:
  FileStream(const std::filesystem::path& path, std::int64_t limit)
      : source_(open_image_source(path)),
        fingerprint_(source_fingerprint(path)),
        limit_(source_->catalogue().items.size()) {
    if (limit > 0) limit_ = std::min(limit_, static_cast<std::size_t>(limit));
    require(limit_ > 0, "{}: holds no pictures", path.string());
  }

  std::int64_t count() const override { return static_cast<std::int64_t>(limit_); }
  std::string key() const override { return fmt::format("files {} {}", fingerprint_, limit_); }
  void read(std::int64_t batch, const ImageBatchSink& sink) const override {
    DecodingSink decoding(source_->catalogue(), limit_, batch, sink);
    source_->read_all(decoding);
    decoding.flush();
  }

 private:
  std::unique_ptr<ImageSource> source_;
  std::string fingerprint_;
  std::size_t limit_;
};

}  // namespace

std::unique_ptr<ImageStream> dataset_stream(const Dataset& data, std::vector<std::int64_t> indices) {
  return std::make_unique<DatasetStream>(data, std::move(indices));
}

std::unique_ptr<ImageStream> tensor_stream(const torch::Tensor& images, std::string key) {
  require(images.dim() == 4 && images.size(1) == 3 && images.scalar_type() == torch::kUInt8,
          "pictures: expected bytes [N, 3, H, W]");
  return std::make_unique<TensorStream>(images, std::move(key));
}

std::unique_ptr<ImageStream> file_stream(const std::filesystem::path& path, std::int64_t limit) {
  return std::make_unique<FileStream>(path, limit);
}

}  // namespace tessera
