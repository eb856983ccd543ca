/// The denoiser p(x0 | xt, t, condition) of VQ-Diffusion: pre-norm blocks whose norms are set by the time step, cross
/// attention to the states of a text, or a norm set by a class. Gu et al., arXiv:2111.14822, section 4.3; names on
/// disk: the hub's Transformer2DModel for discrete tokens.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/named_module.h"
#include "denoiser/denoiser.h"
#include "denoiser/kept_context.h"
#include "kernels/ops/cuda_graph.h"
#include "kernels/ops/layers.h"
#include "kernels/ops/weight_loading.h"
#include "nn/layers.h"
#include "runtime/random.h"
#include "tokens/token_grid.h"

namespace tessera {

struct ConditionalOptions {
  std::int64_t codebook_size = 4096;  // K; tokens are 0..K-1 and MASK (K)
  Extent grid{32, 32};
  std::int64_t layers = 36;
  std::int64_t heads = 16;
  std::int64_t head_width = 88;        // C = heads * head_width
  std::int64_t total_steps = 100;      // T: rows of the time embeddings
  std::int64_t condition_width = 512;  // of the text states; 0: no cross attention
  std::int64_t classes = 0;            // class labels; 0: none. A model has text or classes, not both
  std::int64_t hidden_factor = 4;      // the MLP is C, hidden_factor C, C
  bool exact_gelu = false;             // x Phi(x); else x sigmoid(1.702 x)
  double dropout = 0;                  // in [0, 1), while training; 0 disables

  std::int64_t width() const { return heads * head_width; }
  /// Throws Error naming the value that is out of range.
  void validate() const;
  /// transformer/config.json: the hub's fields, under `tessera` what the hub has no name for.
  nlohmann::json to_config() const;
  static ConditionalOptions from_config(const nlohmann::json& config);
};

class ConditionalTransformerImpl : public NamedModule {
 public:
  explicit ConditionalTransformerImpl(const ConditionalOptions& options);

  /// In: tokens [N, L] int64 in 0..K, t [1] or [N] int64 in 1..T. Out: logits [N, L, K], float32 or wider.
  /// With rows [M] (flat cells n * L + l) only those go through the last block's MLP and the head: [M, K].
  torch::Tensor forward(const torch::Tensor& tokens, const torch::Tensor& t, const ConditionBatch& condition,
                        const torch::Tensor& rows = {}, ContextPass* context = nullptr);

  /// What cross attention reads of texts, the same at every step. In: states [U, P, condition_width]. Out: [layers, 2,
  /// U, P, C], on the network's device.
  torch::Tensor keys_and_values(const torch::Tensor& states);

  /// Outputs of named inner modules, for comparison with other implementations: set to a map to have it filled.
  void record(TensorMap* outputs) { record_ = outputs; }

  /// Random weights: products and embeddings normal(0, 0.02), norms one, biases zero.
  void initialise(Seed seed);
  /// As NamedModule's.
  void load_weights(const TensorMap& tensors, const std::string& where, WeightLoading loading);
  void set_precision(Precision precision);
  void seed_dropout(std::uint64_t bits);
  const ConditionalOptions& options() const { return options_; }
  torch::Device device() const { return tokens_.device(); }

 private:
  struct AdaptiveNorm {
    torch::Tensor embedding;  // [T or classes, C]
    Linear linear{nullptr};   // C to 2 C: scale, shift; in float32 whatever the network's precision
  };
  struct Attention {
    Linear query{nullptr}, key{nullptr}, value{nullptr}, output{nullptr};
  };
  struct Block {
    AdaptiveNorm norm1, norm2;  // by time; norm2 with text only
    Attention self, cross;      // cross with text only
    torch::Tensor norm3_weight, norm3_bias;
    AdaptiveNorm norm3;  // by class, in place of the plain one
    Linear up{nullptr}, down{nullptr};
  };
  /// forward for operands that have been checked and brought to the device; what the condition does not have, and rows,
  /// are undefined.
  torch::Tensor evaluate(const torch::Tensor& tokens, const torch::Tensor& times, const ConditionBatch& condition,
                         const torch::Tensor& rows, ContextPass* context = nullptr);
  /// Keys and values of the texts of N rows in a block: [N, P, C] each.
  std::pair<torch::Tensor, torch::Tensor> text_of(std::size_t block, std::int64_t count,
                                                  const ConditionBatch& condition);
  /// The products of the adaptive norms, which compute in float32.
  std::vector<Linear> layers_of_norms() const;
  AdaptiveNorm adaptive(const std::string& name, std::int64_t rows);
  Attention attention_of(const std::string& name, std::int64_t keys);
  torch::Tensor add_to(Linear& layer, const torch::Tensor& x, const torch::Tensor& residual, double dropout);
  /// In: x [N, L, C], embedded rows [1 or N, C].
  torch::Tensor apply(AdaptiveNorm& layer, const torch::Tensor& x, const torch::Tensor& embedded);
  /// In, out: x [N, L, C]; before the output's product.
  torch::Tensor self_attention(Attention& layer, const torch::Tensor& x, ContextPass* context);
  torch::Tensor embed_classes(const AdaptiveNorm& layer, const torch::Tensor& classes) const;
  void note(const std::string& name, const torch::Tensor& x) const;

  ConditionalOptions options_;
  Precision precision_ = Precision::float32;
  torch::Tensor tokens_, heights_, widths_;  // [K + 1, C], [h, C], [w, C]
  std::vector<Block> blocks_;
  torch::Tensor norm_out_weight_, norm_out_bias_;
  Linear head_{nullptr};
  std::optional<torch::Generator> dropout_generator_;
  CudaGraph recorded_;
  TensorMap* record_ = nullptr;
};
TORCH_MODULE(ConditionalTransformer);

/// From the content of config.json and tensors, in evaluation mode.
ConditionalTransformer load_conditional(const nlohmann::json& config, const TensorMap& tensors,
                                        const std::string& where, WeightLoading loading = WeightLoading::copy);

/// Whether transformer/config.json describes this network and not the one without a condition.
bool is_conditional_config(const nlohmann::json& config);

}  // namespace tessera
