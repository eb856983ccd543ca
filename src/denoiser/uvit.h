/// aMUSEd's network p(x0 | xt, text): convolutional blocks around a transformer, told a text as states and as one
/// vector, and the size of the picture. Patil et al., "aMUSEd", arXiv:2401.01808, section 3; the shape of the whole is
/// that of Hoogeboom et al., "simple diffusion", arXiv:2301.11093 (U-ViT). Names on disk: the hub's UVit2DModel.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "checkpoint/named_module.h"
#include "denoiser/denoiser.h"
#include "denoiser/kept_context.h"
#include "kernels/ops/layers.h"
#include "kernels/ops/weight_loading.h"
#include "nn/layers.h"
#include "runtime/random.h"
#include "tokens/token_grid.h"

namespace tessera {

struct UVitOptions {
  std::int64_t codebook_size = 8192;  // K: logits; tokens are 0..K-1 and MASK (K)
  std::int64_t vocabulary = 8256;     // rows of the embedding: the codes, rows that nobody uses, and last MASK
  Extent grid{16, 16};
  Extent picture{256, 256};         // pixels of that grid, which the network is told unless a condition says others
  std::int64_t embedding = 768;     // width of the tokens' embedding
  std::int64_t channels = 768;      // C of the convolutional blocks
  std::int64_t blocks = 3;          // residual blocks before the transformer, and as many after it
  std::int64_t block_heads = 12;    // of their attentions
  bool halves = false;              // the transformer sees cells of 2 x 2 (the 512 layout)
  std::int64_t width = 1024;        // of the transformer
  std::int64_t layers = 22;         // of the transformer
  std::int64_t heads = 16;          // of the transformer
  std::int64_t hidden = 2816;       // of its MLPs
  std::int64_t text_width = 768;    // of the text's states
  std::int64_t pooled_width = 768;  // of the text as one vector
  std::int64_t micro_width = 256;   // each of the five numbers as so many sines and cosines
  double epsilon = 1e-6;            // of the norms

  /// What a picture of `picture`'s size is told of itself where nobody says otherwise: [5] float32 as UVitImpl::read
  /// takes it, the score the hub pipeline's default.
  torch::Tensor own_micro() const;
  /// Throws Error naming the value that is out of range.
  void validate() const;
  /// transformer/config.json: the hub's fields, under `tessera` what the hub has no name for.
  nlohmann::json to_config() const;
  static UVitOptions from_config(const nlohmann::json& config);
};

/// What the network computes of U texts once, the same at every step.
struct UVitTexts {
  std::vector<torch::Tensor> keys, values;  // one an attention to the text, in the order of the network, [U, P, C]
  // One a norm or residual block that the text sets, in the order of the network: what is multiplied and added, [U, C].
  std::vector<torch::Tensor> gains, shifts;
};

class UVitImpl : public NamedModule {
 public:
  explicit UVitImpl(const UVitOptions& options);

  /// In: states [U, P, text_width], pooled [U, pooled_width], micro [U, 5]: width and height (pixels), crop from the
  /// top and the left (pixels), aesthetic score.
  UVitTexts read(const torch::Tensor& states, const torch::Tensor& pooled, const torch::Tensor& micro);

  /// In: tokens [N, h, w] int64 in 0..K, of any extent (with `halves` of even sides); texts [N] int64, which of the
  /// texts read each row is told. Out: logits [N, h, w, K], float32 or wider. With rows [M] (flat cells) only those go
  /// through the head: [M, K]. context: of the transformer's attentions and its result, whose places are cells of
  /// 2 x 2 with `halves`; what stands before and after it is computed whole. null: none.
  torch::Tensor forward(const torch::Tensor& tokens, const UVitTexts& read, const torch::Tensor& texts,
                        const torch::Tensor& rows = {}, ContextPass* context = nullptr);

  /// Outputs of named inner parts, for comparison with other implementations: set to a map to have it filled.
  void record(TensorMap* outputs) { record_ = outputs; }

  /// Random weights: products and embeddings normal(0, 0.02), norms one, the global response norms zero.
  void initialise(Seed seed);
  /// As NamedModule's.
  void load_weights(const TensorMap& tensors, const std::string& where, WeightLoading loading);
  void set_precision(Precision precision);
  const UVitOptions& options() const { return options_; }
  torch::Device device() const { return tokens_.device(); }

 private:
  struct Attention {
    Linear query{nullptr}, key{nullptr}, value{nullptr}, output{nullptr};
  };
  struct ResidualBlock {
    torch::Tensor depthwise, norm;  // [C, 1, 3, 3], [C]
    Linear up{nullptr}, down{nullptr};
    torch::Tensor gamma, beta;  // of the global response norm, [1, 1, 1, 4 C]
    Linear condition{nullptr};  // to scale and shift
  };
  struct TextBlock {       // two attentions, both to the text
    Linear text{nullptr};  // empty where the widths are the same
    torch::Tensor norm1, norm2;
    Attention first, second;
  };
  struct Stage {
    std::vector<ResidualBlock> residual;
    std::vector<TextBlock> attention;
  };
  struct AdaptiveNorm {
    torch::Tensor weight;
    Linear linear{nullptr};  // to scale and shift
  };
  struct Layer {
    AdaptiveNorm norm1, norm2, norm3;  // the third removes the mean, too
    Attention self, cross;
    Linear up{nullptr}, down{nullptr};
  };
  struct Pointwise {       // a 1x1 convolution
    torch::Tensor weight;  // [out, in, 1, 1]
    PackedWeight packed;
    torch::Tensor apply(const torch::Tensor& x, Precision precision);
  };
  /// The places of a walk through what was read of the texts.
  struct Place {
    std::size_t attention = 0, shift = 0;
  };

  Linear product(const std::string& name, std::int64_t in, std::int64_t out);
  Attention attention_of(const std::string& name, std::int64_t width);
  AdaptiveNorm adaptive(const std::string& name);
  Stage stage(const std::string& name);
  void read_attention(Attention& layer, const torch::Tensor& states, UVitTexts& out);
  void read_stage(Stage& stage, const torch::Tensor& states, const torch::Tensor& activated, UVitTexts& out);
  /// x [N, h, w, C] through the blocks of a stage.
  torch::Tensor walk(Stage& stage, torch::Tensor x, const UVitTexts& read, const torch::Tensor& texts, Place& at,
                     const char* name);
  torch::Tensor to_text(Attention& layer, const torch::Tensor& normed, const torch::Tensor& x, std::int64_t heads,
                        const UVitTexts& read, const torch::Tensor& texts, Place& at);
  torch::Tensor apply(Layer& layer, torch::Tensor x, const UVitTexts& read, const torch::Tensor& texts, Place& at,
                      const std::string& name, ContextPass* context);
  void note(const std::string& name, const torch::Tensor& x) const;

  UVitOptions options_;
  Precision precision_ = Precision::float32;
  Linear text_{nullptr}, pooled_{nullptr}, condition_{nullptr};
  torch::Tensor text_norm_;
  torch::Tensor tokens_, token_norm_;  // [vocabulary, embedding], [embedding]
  Pointwise token_mix_;
  torch::Tensor half_norm_, half_, double_norm_, double_;  // down- and upsampling, where `halves`
  Stage before_, after_;
  torch::Tensor inward_norm_, outward_norm_;
  Linear inward_{nullptr}, outward_{nullptr};
  std::vector<Layer> layers_;
  Pointwise head1_, head2_;
  torch::Tensor head_norm_;
  TensorMap* record_ = nullptr;
};
TORCH_MODULE(UVit);

/// The five numbers as sines and cosines. In: micro [U, 5]. Out: [U, 5 width], for each number its cosines, then its
/// sines, of frequencies 10000^(-k / (width / 2)).
torch::Tensor micro_embedding(const torch::Tensor& micro, std::int64_t width);

/// From the content of config.json and tensors, in evaluation mode.
UVit load_uvit(const nlohmann::json& config, const TensorMap& tensors, const std::string& where,
               WeightLoading loading = WeightLoading::copy);

/// The network as a denoiser of grids of one extent: a condition for each image, guided as u + scale (c - u) on the
/// logits.
class UVitDenoiser : public Denoiser {
 public:
  /// In: none, the condition of images that are given none; extent, of the grids, the network's own if empty. Throws
  /// Error where the condition does not fit.
  explicit UVitDenoiser(UVit network, Condition none = {}, Extent extent = {0, 0});

  const UVit& network() const { return network_; }

  std::int64_t codebook_size() const override { return network_->options().codebook_size; }
  torch::Device device() const override { return network_->device(); }
  std::int64_t parameter_count() const override { return network_->parameter_count(); }
  std::unique_ptr<Evaluator> begin(const std::vector<Condition>& conditions = {}) override;

 private:
  UVit network_;
  Condition none_;
  Extent extent_;
};

}  // namespace tessera
