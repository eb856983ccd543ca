/// The Gated PixelCNN over token grids, told a class or nothing: the prior of the VQ-VAE paper. Convolutions see the
/// cells before in raster order alone, without a blind spot: a vertical stack sees the rows above, a horizontal one the
/// cells to the left and, through a link, the vertical stack. Van den Oord et al., "Conditional Image Generation with
/// PixelCNN Decoders", arXiv:1606.05328, section 2 and figure 2; as a prior: arXiv:1711.00937, section 3.3.
///
/// What a cell must not see lies outside the kernels (no masks over weights): the first layer's kernels end before the
/// cell and its row.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/named_module.h"
#include "denoiser/denoiser.h"
#include "kernels/ops/weight_loading.h"
#include "runtime/random.h"
#include "tokens/token_grid.h"

namespace tessera {

struct PixelCnnOptions {
  std::int64_t codebook_size = 512;  // K
  Extent grid{32, 32};
  std::int64_t layers = 15;
  std::int64_t width = 64;        // C, channels of each stack
  std::int64_t hidden = 512;      // channels before the head
  std::int64_t first_kernel = 7;  // odd, cells across
  std::int64_t kernel = 3;        // of the layers after the first
  std::int64_t classes = 0;       // class labels; 0: none
  double dropout = 0;             // in [0, 1), while training; 0 disables

  /// Throws Error naming the value that is out of range.
  void validate() const;
  nlohmann::json to_config() const;
  static PixelCnnOptions from_config(const nlohmann::json& config);
};

/// Parameters: token_embedding.weight [K, C]; layers.N.: vertical.weight [2C, C, rows, columns], horizontal.weight [2C,
/// C, 1, columns], link.weight [2C, 2C, 1, 1], output.weight [C, C, 1, 1], their biases, and with classes
/// class_embedding.weight [classes + 1, 2C] (last row: none); hidden.weight [H, C, 1, 1], head.weight [K, H, 1, 1] and
/// their biases.
class PixelCnnImpl : public NamedModule, public Denoiser {
 public:
  explicit PixelCnnImpl(const PixelCnnOptions& options);

  /// Differentiable. In: tokens [N, L] int64 in 0..K-1; classes [N] int64, -1 for none; undefined: none. Out: logits
  /// [N, L, K]; entry i predicts token i and has seen those before it alone.
  torch::Tensor forward(const torch::Tensor& tokens, const torch::Tensor& classes = {});

  std::unique_ptr<Evaluator> begin(const std::vector<Condition>& conditions = {}) override;
  /// Weights normal with the deviation that keeps variances, sqrt(1 / fan_in); embeddings normal(0, 1); biases zero.
  void initialise(Seed seed);
  void load_weights(const TensorMap& tensors, const std::string& where, WeightLoading loading);
  /// Fixes the dropout masks of the following forward passes.
  void seed_dropout(std::uint64_t bits);

  const PixelCnnOptions& options() const { return options_; }
  std::int64_t codebook_size() const override { return options_.codebook_size; }
  torch::Device device() const override { return embedding_.device(); }
  std::int64_t parameter_count() const override { return NamedModule::parameter_count(); }
  bool is_autoregressive() const override { return true; }

 private:
  friend class PixelCnnDecoding;
  struct Convolution {
    torch::Tensor weight, bias;
    /// Without padding.
    torch::Tensor operator()(const torch::Tensor& x) const { return torch::conv2d(x, weight, bias); }
  };
  struct Layer {
    Convolution vertical, horizontal, link, output;
    torch::Tensor classes;  // [classes + 1, 2C]
  };
  Convolution add_convolution(const std::string& name, std::int64_t out, std::int64_t in, std::int64_t rows,
                              std::int64_t columns);
  /// Cells on each side that a layer's kernels reach.
  std::int64_t reach(std::size_t layer) const { return (layer == 0 ? options_.first_kernel : options_.kernel) / 2; }
  /// What a layer adds for the classes of N rows, [N, 2C, 1, 1]; a zero without classes.
  torch::Tensor told(const Layer& layer, const torch::Tensor& classes) const;
  torch::Tensor head_of(const torch::Tensor& x) const;

  PixelCnnOptions options_;
  torch::Tensor embedding_;
  std::vector<Layer> layers_;
  Convolution hidden_, head_;
  std::optional<torch::Generator> dropout_generator_;
};
TORCH_MODULE(PixelCnn);

ShapeMap pixel_cnn_shapes(const PixelCnnOptions& options);

}  // namespace tessera
