/// ImageBART's networks: for each time step t of a short multinomial chain (a scale) a transformer of its own that
/// predicts x_{t-1} cell by cell. All but the last have an encoder that reads x_t; at T nothing is left to be read, and
/// a decoder alone remains. Esser et al., arXiv:2108.08827, section 3.2.
///
/// One table embeds the time step, the class and the codes of the encoder (of the lone decoder: of the decoder).
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
#include "denoiser/step_decoder.h"
#include "kernels/ops/weight_loading.h"
#include "nn/layers.h"
#include "tokens/token_grid.h"

namespace tessera {

/// The network of one time step.
struct ScaleOptions {
  std::int64_t width = 512;      // C
  std::int64_t head_width = 64;  // the inner width is heads * head_width
  std::int64_t vocabulary = 0;   // V of the table that embeds time, class and codes: above each of them
  std::int64_t encoder_layers = 0, encoder_heads = 0;  // 0: no encoder, as at T
  std::int64_t decoder_layers = 12, decoder_heads = 8;
  // Logits are scaled by a learned factor and log q(x_t | x_{t-1}) is added; needs an encoder.
  bool residual = false;
  // While a row is decoded without an encoder, its time step's position sees the class too, as in the published sampler
  // (in training it does not).
  bool open_start = false;

  bool has_encoder() const { return encoder_layers > 0; }
};

struct ImageBartOptions {
  std::int64_t codebook_size = 1024;  // K
  Extent grid{16, 16};
  std::int64_t classes = 0;          // class labels; 0: none
  std::vector<ScaleOptions> scales;  // of t = 1..T

  std::int64_t total_steps() const { return static_cast<std::int64_t>(scales.size()); }
  /// Throws Error naming the value that is out of range.
  void validate() const;
  nlohmann::json to_config() const;
  static ImageBartOptions from_config(const nlohmann::json& config);
};

/// Keys and values of a stack of layers for the places so far, and of what cross attention reads.
struct StackCache {
  std::int64_t places = 0, most = 0;
  std::vector<torch::Tensor> keys, values;              // a layer: [N, H, most, D]
  std::vector<torch::Tensor> cross_keys, cross_values;  // a layer: [N, H, B, D]
};

/// Pre-norm layers, exact GELU, and a last norm. Parameters: layers.N.norm1, .self.{query,key,value,output}, with a
/// context .norm2, .cross..., then .norm3, .up, .down; norm.
class AttentionStackImpl : public torch::nn::Module {
 public:
  struct Options {
    std::int64_t layers, heads, width, head_width;
    bool cross, biased;  // biased: queries, keys and values have biases
  };
  explicit AttentionStackImpl(const Options& options);

  /// In: x [N, A, C]; context [N, B, C] with cross attention. With a cache x comes after its places, and the context is
  /// read at the first call alone. Out: [N, A, C].
  torch::Tensor forward(torch::Tensor x, bool causal, const torch::Tensor& context = {}, StackCache* cache = nullptr);

 private:
  struct Attention {
    Linear query{nullptr}, key{nullptr}, value{nullptr}, output{nullptr};
  };
  struct Layer {
    LayerNorm norm1{nullptr}, norm2{nullptr}, norm3{nullptr};
    Attention self, cross;
    Linear up{nullptr}, down{nullptr};
  };
  Attention add_attention(torch::nn::Module& layer, const std::string& name);
  torch::Tensor split(const torch::Tensor& x) const;
  torch::Tensor attend_self(Layer& layer, const torch::Tensor& x, bool causal, std::size_t number, StackCache* cache);
  torch::Tensor attend_cross(Layer& layer, const torch::Tensor& x, const torch::Tensor& context, std::size_t number,
                             StackCache* cache);

  Options options_;
  std::vector<Layer> layers_;
  LayerNorm norm_{nullptr};
};
TORCH_MODULE(AttentionStack);

/// Parameters, under scales.T.: encoder.{token_embedding.weight [V, C], position_embedding [places, C], stack..},
/// decoder.{the same; token_embedding [K, C], without an encoder [V, C]}, head.weight [K, C], with an encoder head.bias
/// [K], and where it is residual log_scale [1].
class ImageBartImpl : public NamedModule, public Denoiser {
 public:
  explicit ImageBartImpl(const ImageBartOptions& options);

  /// Teacher-forced and differentiable. In: the look's rows of x_t; before [N, L] int64: x_{t-1}; classes [N] int64, -1
  /// for none (the mean of all), undefined for networks without. Out: logits [N, L, K]; entry i predicts cell i.
  torch::Tensor step_logits(const StepLook& look, const torch::Tensor& before, const torch::Tensor& classes);
  /// What the encoder of look.time says: [N, places, C].
  torch::Tensor encode(const StepLook& look, const torch::Tensor& classes);

  std::unique_ptr<Evaluator> begin(const std::vector<Condition>& conditions = {}) override;
  /// Random weights: products and embeddings normal(0, 0.02), norms one, biases zero.
  void initialise(Seed seed);
  void load_weights(const TensorMap& tensors, const std::string& where, WeightLoading loading);
  void set_precision(Precision precision) { set_layers_precision(*this, precision); }

  const ImageBartOptions& options() const { return options_; }
  std::int64_t codebook_size() const override { return options_.codebook_size; }
  torch::Device device() const override { return scales_.front().head->weight.device(); }
  std::int64_t parameter_count() const override { return NamedModule::parameter_count(); }
  bool is_autoregressive() const override { return true; }
  bool sees_time() const override { return true; }

 private:
  friend class StepDecoding;
  struct Scale {
    torch::Tensor encoder_tokens, encoder_places, decoder_tokens, decoder_places, log_scale;
    AttentionStack encoder{nullptr}, decoder{nullptr};
    Linear head{nullptr};
  };
  Scale& at(std::int64_t time) { return scales_.at(static_cast<std::size_t>(time - 1)); }
  const ScaleOptions& options_at(std::int64_t time) const {
    return options_.scales.at(static_cast<std::size_t>(time - 1));
  }
  /// Time step and class of N rows, [N, 1 or 2, C].
  torch::Tensor told(const torch::Tensor& table, std::int64_t time, std::int64_t count, const torch::Tensor& classes);
  /// Of what the decoder says [N, A, C] of cells `first`.. on: logits [N, A, K].
  torch::Tensor logits_of(const StepLook& look, const torch::Tensor& decoded, std::int64_t first);
  void check(const StepLook& look, const torch::Tensor& classes) const;

  ImageBartOptions options_;
  std::vector<Scale> scales_;
};
TORCH_MODULE(ImageBart);

/// The tensors of networks of these sizes, by name; takes no memory.
ShapeMap image_bart_shapes(const ImageBartOptions& options);

}  // namespace tessera
