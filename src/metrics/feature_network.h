/// Networks whose features stand for pictures in FID, KID, PRDC and neighbour searches, and the cache of what they
/// gave.
#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "codec/codec.h"
#include "features/backbone.h"
#include "metrics/image_stream.h"
#include "metrics/inception_input.h"

namespace tessera {

class FeatureNetwork {
 public:
  virtual ~FeatureNetwork() = default;
  /// In: pictures [3, H, W] uint8, at least one. Out: [n, D] float32.
  virtual torch::Tensor features(const std::vector<torch::Tensor>& images) = 0;
  /// What stands beside every figure computed from these features.
  virtual std::string label() const = 0;
  /// What the Fréchet distance of these features is called: "FID" only where it is.
  virtual std::string distance_name() const = 0;
  /// true: figures may be compared with published ones of the same input convention.
  virtual bool published() const = 0;
  /// Network, weights and settings, for cache names.
  virtual std::string key() const = 0;
};

/// InceptionV3 from the user's file. published() only where the file is the published one, by its SHA-256.
std::unique_ptr<FeatureNetwork> inception_features(const std::filesystem::path& weights, InceptionInput convention);

/// A feature network from a list of layers, by default one that ships (features/backbone.h): the mean over places of
/// its last map. size: pixels a side that every picture is resized to first (bilinear, antialiased; the aspect ratio is
/// not kept); 0: as the network's description says. No published figure uses them, and the label says so.
std::unique_ptr<FeatureNetwork> backbone_features(Backbone backbone, std::int64_t size = 0,
                                                  torch::Device device = torch::kCPU);

/// The latents of a codec's encoder before quantisation, averaged over a 4x4 raster (fewer where the grid is smaller):
/// D * 16 values. No published figure uses them, and the label says so. In: hash and name of the bundle.
std::unique_ptr<FeatureNetwork> codec_features(Codec codec, std::string hash, std::string name);

/// The features of every picture, [count, D]. From the cache folder where they lie there under the keys of pictures and
/// network, else computed and put there. An empty folder: no cache. title: of the progress line.
torch::Tensor extract_features(const ImageStream& images, FeatureNetwork& network, const std::string& title,
                               const std::filesystem::path& cache_folder = {}, std::int64_t batch = 16);

}  // namespace tessera
