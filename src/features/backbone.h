/// A pretrained feature network ("backbone"): a list of layers from a JSON file, with weights from a safetensors file.
/// It stands behind the perceptual term of codec training and behind the figures of an evaluation. Forward and backward
/// on every device; its weights are never trained.
#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/safetensors.h"
#include "features/backbone_description.h"
#include "kernels/ops/layers.h"

namespace tessera {

class Backbone {
 public:
  struct Output {
    std::vector<torch::Tensor> taps;  // [N, C_i, h_i, w_i] float32
    torch::Tensor features;           // [N, D] float32: the last map's mean over places
  };

  /// In: tensors of any floating type under the layers' names. Throws one Error beginning with `where` that lists every
  /// missing, unexpected and misshapen tensor. precision: of convolutions and activations; what comes out is float32.
  Backbone(BackboneDescription description, const TensorMap& tensors, const std::string& where,
           Precision precision = Precision::float32);

  /// In: pictures [N, 3, H, W], R, G, B in [0, 1]; sides of at least description().smallest_side(). The
  /// description's mean and deviation are taken out here.
  Output forward(const torch::Tensor& pictures) const;
  /// The same, without what only the features need: layers after the last tap.
  std::vector<torch::Tensor> taps(const torch::Tensor& pictures) const;

  void to(torch::Device device);
  const BackboneDescription& description() const { return description_; }
  /// Width of the features.
  std::int64_t width() const { return width_; }
  /// SHA-256 of the weights' file (of what is inside the program, for the shipped ones); empty where unknown.
  const std::string& hash() const { return hash_; }
  void set_hash(std::string hash) { hash_ = std::move(hash); }

 private:
  struct Convolution {
    torch::Tensor weight, bias;  // [Co, Ci, k, k], [Co] float32
    std::int64_t groups = 1;
  };
  class Builder;

  torch::Tensor apply(const Convolution& convolution, const torch::Tensor& x, std::int64_t stride,
                      std::int64_t padding) const;
  torch::Tensor apply(std::size_t layer, const torch::Tensor& x, std::vector<torch::Tensor>& taps) const;
  Output run(const torch::Tensor& pictures, bool features) const;

  BackboneDescription description_;
  std::string where_, hash_;
  Precision precision_;
  torch::Tensor mean_, deviation_;                      // [1, 3, 1, 1]
  std::vector<std::vector<Convolution>> convolutions_;  // by layer
  std::int64_t width_ = 3;
};

/// Reads the JSON and the weights beside it. Throws Error where they are not the file whose SHA-256 the JSON states.
Backbone load_backbone(const std::filesystem::path& json, Precision precision = Precision::float32);

/// Networks inside the program, by name ("mobilenetv2", "squeezenet").
Backbone shipped_backbone(const std::string& name, Precision precision = Precision::float32);
/// Their names.
std::vector<std::string> shipped_backbone_names();

/// The distance of two lists of taps, one number an image: channels of each place scaled to length 1, squared
/// difference summed over channels, averaged over places, summed over taps. The uncalibrated form of Zhang et al.,
/// arXiv:1801.03924, equation 1. In: [N, C_i, h_i, w_i]. Out: [N].
torch::Tensor tap_distance(const std::vector<torch::Tensor>& a, const std::vector<torch::Tensor>& b);
/// Its terms, each [N].
std::vector<torch::Tensor> tap_distances(const std::vector<torch::Tensor>& a, const std::vector<torch::Tensor>& b);

}  // namespace tessera
