#include "metrics/feature_network.h"

#include <algorithm>
#include <functional>

#include "checkpoint/safetensors.h"
#include "checkpoint/sha256.h"
#include "data/content_hash.h"
#include "metrics/inception.h"
#include "runtime/error.h"
#include "runtime/log.h"
#include "runtime/mapped_file.h"
#include "runtime/progress.h"

namespace tessera {
namespace {

constexpr std::int64_t kRaster = 4;  // codec features: averages over so many parts a side

class InceptionFeatures : public FeatureNetwork {
 public:
  InceptionFeatures(const std::filesystem::path& weights, InceptionInput convention)
      : network_(load_inception(weights)), convention_(convention) {
    Sha256 hash;
    hash.update(MappedFile::open(weights)->bytes());
    hash_ = hash.finish();
  }

  torch::Tensor features(const std::vector<torch::Tensor>& images) override {
    std::vector<torch::Tensor> inputs;
    for (const auto& image : images) inputs.push_back(inception_input(image.unsqueeze(0), convention_));
    return network_.forward(torch::cat(inputs)).features;
  }
  std::string label() const override {
    if (published()) return fmt::format("InceptionV3, published weights, input as {}", name_of(convention_));
    return fmt::format("InceptionV3 with other weights (sha256 {}): not comparable with published figures; input as {}",
                       hash_.substr(0, 8), name_of(convention_));
  }
  std::string distance_name() const override { return published() ? "FID" : "FD-InceptionV3 (other weights)"; }
  bool published() const override { return hash_ == kPublishedInceptionHash; }
  std::string key() const override { return fmt::format("inception {} {}", hash_, name_of(convention_)); }

 private:
  InceptionV3 network_;
  InceptionInput convention_;
  std::string hash_;
};

/// Runs of one size go through the network together. compute: [n, 3, H, W] uint8 to rows [n, D].
torch::Tensor rows_by_size(const std::vector<torch::Tensor>& images, const std::string& what,
                           const std::function<torch::Tensor(const torch::Tensor&)>& compute) {
  std::vector<torch::Tensor> rows;
  for (std::size_t first = 0; first < images.size();) {
    auto last = first;
    while (last < images.size() && images[last].sizes() == images[first].sizes()) ++last;
    const std::vector<torch::Tensor> run(images.begin() + static_cast<std::ptrdiff_t>(first),
                                         images.begin() + static_cast<std::ptrdiff_t>(last));
    rows.push_back(compute(torch::stack(run)));
    require(rows.back().size(1) == rows.front().size(1), "{}: pictures of sizes that give unlike features", what);
    first = last;
  }
  return torch::cat(rows);
}

class BackboneFeatures : public FeatureNetwork {
 public:
  BackboneFeatures(Backbone backbone, std::int64_t size, torch::Device device)
      : backbone_(std::move(backbone)), size_(size > 0 ? size : backbone_.description().judge_size), device_(device) {
    const auto smallest = backbone_.description().smallest_side();
    require(size_ == 0 || size_ >= smallest, "features of {}: pictures of {} pixels a side, expected {} or more",
            short_name(), size_, smallest);
    backbone_.to(device_);
  }

  torch::Tensor features(const std::vector<torch::Tensor>& images) override {
    const torch::NoGradGuard no_grad;
    return rows_by_size(images, "features of " + short_name(), [&](const torch::Tensor& bytes) {
      auto pictures = bytes.to(device_, torch::kFloat32) / 255.0;
      const bool resize = size_ > 0 && (pictures.size(2) != size_ || pictures.size(3) != size_);
      if (resize) pictures = at::_upsample_bilinear2d_aa(pictures, {size_, size_}, false);
      return backbone_.forward(pictures).features.to(torch::kCPU);
    });
  }
  std::string label() const override {
    return fmt::format("{} features ({} numbers), pictures {}: NOT comparable with published FID", short_name(),
                       backbone_.width(),
                       size_ > 0 ? fmt::format("at {}x{} pixels", size_, size_) : "in their own size");
  }
  std::string distance_name() const override {
    auto name = short_name();
    const auto word = name.find(' ');
    return "FD-" + name.substr(0, word);
  }
  bool published() const override { return false; }
  std::string key() const override { return fmt::format("backbone {} size {}", backbone_.hash(), size_); }

 private:
  std::string short_name() const { return backbone_.description().short_name(); }

  Backbone backbone_;
  std::int64_t size_;
  torch::Device device_;
};

class CodecFeatures : public FeatureNetwork {
 public:
  CodecFeatures(Codec codec, std::string hash, std::string name)
      : codec_(std::move(codec)), hash_(std::move(hash)), name_(std::move(name)) {}

  torch::Tensor features(const std::vector<torch::Tensor>& images) override {
    const torch::NoGradGuard no_grad;
    const auto factor = codec_->options().factor();
    return rows_by_size(images, "codec features", [&](const torch::Tensor& bytes) {
      require(bytes.size(2) % factor == 0 && bytes.size(3) % factor == 0,
              "codec features: a picture of {}x{}, expected sides that are multiples of {}", bytes.size(3),
              bytes.size(2), factor);
      const auto pixels = codec_->to_network_range(bytes.to(codec_->device()));
      const auto latents = codec_->latents(pixels).to(torch::kCPU, torch::kFloat32);
      const auto h = std::min(kRaster, latents.size(2)), w = std::min(kRaster, latents.size(3));
      return torch::adaptive_avg_pool2d(latents, {h, w}).flatten(1);
    });
  }
  std::string label() const override {
    return fmt::format(
        "encoder latents of the codec in {}, averaged over {}x{} parts: NOT comparable with published FID", name_,
        kRaster, kRaster);
  }
  std::string distance_name() const override { return "FD-codec"; }
  bool published() const override { return false; }
  std::string key() const override { return fmt::format("codec {} raster {}", hash_, kRaster); }

 private:
  Codec codec_;
  std::string hash_, name_;
};

std::filesystem::path cache_file(const std::filesystem::path& folder, const std::string& key) {
  ContentHash hash;
  hash.add(key);
  return folder / fmt::format("features-{}.safetensors", hash.hex().substr(0, 32));
}

/// What the cache holds under this key; undefined where it holds nothing usable.
torch::Tensor cached(const std::filesystem::path& file, const std::string& key, std::int64_t count) {
  std::error_code code;
  if (!std::filesystem::exists(file, code)) return {};
  try {
    Metadata metadata;
    const auto tensors = load_safetensors(file, &metadata);
    const auto& rows = tensors.at("features");
    if (metadata["key"] == key && rows.dim() == 2 && rows.size(0) == count) return rows;
  } catch (const std::exception& error) {
    log().warn("{}: the cached features cannot be used and are computed again: {}", file.string(), error.what());
  }
  return {};
}

}  // namespace

std::unique_ptr<FeatureNetwork> inception_features(const std::filesystem::path& weights, InceptionInput convention) {
  return std::make_unique<InceptionFeatures>(weights, convention);
}

std::unique_ptr<FeatureNetwork> backbone_features(Backbone backbone, std::int64_t size, torch::Device device) {
  return std::make_unique<BackboneFeatures>(std::move(backbone), size, device);
}

std::unique_ptr<FeatureNetwork> codec_features(Codec codec, std::string hash, std::string name) {
  return std::make_unique<CodecFeatures>(std::move(codec), std::move(hash), std::move(name));
}

torch::Tensor extract_features(const ImageStream& images, FeatureNetwork& network, const std::string& title,
                               const std::filesystem::path& cache_folder, std::int64_t batch) {
  const torch::NoGradGuard no_grad;
  const bool cacheable = !cache_folder.empty() && !images.key().empty();
  const auto key = fmt::format("{}; {}", images.key(), network.key());
  const auto file = cacheable ? cache_file(cache_folder, key) : std::filesystem::path();
  if (cacheable) {
    if (const auto found = cached(file, key, images.count()); found.defined()) return found;
  }
  std::vector<torch::Tensor> rows;
  std::int64_t done = 0;
  Progress progress(title, 0, images.count(), "images");
  images.read(batch, [&](const std::vector<torch::Tensor>& part) {
    rows.push_back(network.features(part));
    done += static_cast<std::int64_t>(part.size());
    progress.update(done, "");
  });
  const auto features = torch::cat(rows);
  if (cacheable) {
    std::filesystem::create_directories(cache_folder);
    save_safetensors(file, {{"features", features}}, {{"key", key}, {"network", network.label()}});
  }
  return features;
}

}  // namespace tessera
