/// The transformer prior over token grids, bidirectional (the denoiser of absorbing diffusion) or autoregressive:
/// pre-norm blocks, exact GELU, learned absolute positions, no time conditioning. Bond-Taylor et al., "Unleashing
/// Transformers", ECCV 2022, section 3 and table 4.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/parameter_shapes.h"
#include "checkpoint/safetensors.h"
#include "denoiser/denoiser.h"
#include "denoiser/kept_context.h"
#include "kernels/ops/cuda_graph.h"
#include "kernels/ops/transformer_blocks.h"
#include "kernels/ops/weight_loading.h"
#include "nn/layers.h"
#include "nn/sparse_attention.h"
#include "runtime/random.h"
#include "tokens/token_grid.h"

namespace tessera {

enum class TransformerKind { bidirectional, autoregressive };

struct TransformerOptions {
  TransformerKind kind = TransformerKind::bidirectional;
  std::int64_t codebook_size = 1024;  // K
  Extent grid{16, 16};                // h, w; L = h * w positions
  std::int64_t layers = 24;
  std::int64_t heads = 8;
  std::int64_t width = 512;  // C, a multiple of heads
  double dropout = 0;        // in [0, 1), while training; 0 disables
  // Of bidirectional ones: layers take turns in attending locally and with strides (nn/sparse_attention.h), by blocks
  // of so many cells a side; 0: every cell sees every other in each layer.
  std::int64_t attention_block = 0;
  // What an autoregressive one may be told, put before the cells: a class, or the states of a text.
  std::int64_t classes = 0;           // class labels; 0: none
  bool class_starts = false;          // the class in the start token's place (arXiv:2012.09841), not before it
  std::int64_t condition_width = 0;   // of the states; 0: no text
  std::int64_t condition_length = 0;  // P, their positions

  bool is_told() const { return classes > 0 || condition_width > 0; }
  /// Throws Error naming the value that is out of range.
  void validate() const;
  /// The content of transformer/config.json.
  nlohmann::json to_config() const;
  /// Reads transformer/config.json. Throws Error naming the missing or wrong field.
  static TransformerOptions from_config(const nlohmann::json& config);
};

enum class Initialisation {
  framework,  // Linear uniform in +-1/sqrt(fan_in), embeddings standard normal: what the published models started from
  small_normal,  // Linear and embeddings normal(0, 0.02), biases zero: the transformer paper's
  none,          // zeros, for weights about to be loaded
};

/// One pre-norm block: x + attention(norm1(x)), then x + mlp(norm2(x)).
class BlockImpl : public torch::nn::Module {
 public:
  explicit BlockImpl(const TransformerOptions& options);

  /// In: x [N * L, C] of N rows; without gradients its memory may hold the result. Out: [N * L, C], or [M, C] for the M
  /// flat rows asked for (`rows` defined).
  /// sparse: which cells see which; null: all. kept: keeps or reuses keys and values of a network that is neither
  /// causal nor sparse; null: neither.
  torch::Tensor forward(const torch::Tensor& x, std::int64_t count, const torch::Tensor& rows, bool causal,
                        double dropout, const std::optional<torch::Generator>& generator,
                        const SparseAttention* sparse = nullptr, ContextPass* kept = nullptr);
  /// In: x [N, C], the cells at `position`; keys, values [N, H, L, D] filled up to there (undefined at first: made for
  /// `cells` L), extended by this call.
  torch::Tensor advance(const torch::Tensor& x, torch::Tensor& keys, torch::Tensor& values, std::int64_t position,
                        std::int64_t cells);
  /// What `forward` computes with, for transformer_blocks.
  TransformerBlock parameters_of_block();

 private:
  std::int64_t heads_;
  LayerNorm norm1_, norm2_;
  Linear qkv_, output_, up_, down_;
};
TORCH_MODULE(Block);

/// Parameters (names on disk): token_embedding.weight [K+1, C] (last row MASK; autoregressive [K, C]),
/// position_embedding [L, C], start_token [C] (autoregressive, but where the class starts), blocks.N..., final_norm,
/// head.weight [K, C]; where it is told something class_embedding.weight [classes + 1, C] (last row: none), or
/// condition_projection [C, W] and condition_positions [P, C].
class TransformerImpl : public torch::nn::Module, public Denoiser {
 public:
  explicit TransformerImpl(TransformerOptions options, Initialisation initialisation = Initialisation::framework,
                           Seed seed = 0);

  /// Bidirectional: tokens [N, P] int64 in 0..K, P <= L (sparse: P = L) -> logits [N, P, K].
  /// Autoregressive: tokens [N, P] in 0..K-1, P < L -> logits [N, P+1, K]; entry i predicts token i. told: what the
  /// rows are conditioned on, of networks that are told something.
  torch::Tensor forward(const torch::Tensor& tokens, const ConditionBatch& told = {});

  /// As forward, for some cells only: these alone go through the last layer's projections and the head. Differentiable.
  /// In: rows [M] int64, flat indices n * P + l (autoregressive: n * (P + 1) + l). Out: [M, K].
  /// context: keeps or reuses keys and values (bidirectional networks alone); null: neither.
  torch::Tensor logits_at(const torch::Tensor& tokens, const torch::Tensor& rows, ContextPass* context = nullptr);

  /// Conditions are read by networks that are told something. With guidance a row is decoded with and without its
  /// condition; logits are then logarithms of the guided probabilities (guided_denoiser.h).
  std::unique_ptr<Evaluator> begin(const std::vector<Condition>& conditions = {}) override;
  /// The condition of images that are given none; a network with text needs its states.
  void set_none(Condition none) { none_ = std::move(none); }

  const TransformerOptions& options() const { return options_; }
  std::int64_t codebook_size() const override { return options_.codebook_size; }
  torch::Device device() const override { return position_embedding_.device(); }
  bool is_autoregressive() const override { return options_.kind == TransformerKind::autoregressive; }
  std::int64_t parameter_count() const override;

  /// How the products with weights are computed from now on; parameters stay float32. bfloat16 is for training and for
  /// inference that may round: logits are float32 in either case.
  void set_precision(Precision precision);

  /// Fixes the dropout masks of the following forward passes (call once a step with bits of (seed, step)).
  void seed_dropout(std::uint64_t bits);

  /// The parameters by their names on disk; they share storage with the module.
  TensorMap state() const;
  /// Makes `tensors` the parameters. Throws one Error listing every missing, unexpected and misshapen tensor.
  /// where: what to call the source in that message.
  void load(const TensorMap& tensors, const std::string& where, WeightLoading loading = WeightLoading::copy);

 private:
  friend class TransformerDecoding;
  friend class TransformerEvaluator;
  torch::Tensor run(const torch::Tensor& tokens, const torch::Tensor& rows, const torch::Tensor& prefix = {});
  /// run for tokens and rows on the network's device.
  torch::Tensor evaluate(const torch::Tensor& tokens, const torch::Tensor& rows, const torch::Tensor& prefix,
                         ContextPass* context = nullptr);
  /// What stands before the cells (or in the start token's place), [N, P, C] of N rows; undefined where the network is
  /// told nothing.
  torch::Tensor prefix_of(const ConditionBatch& told, std::int64_t count);
  /// Takes x [count * L, C] through as many blocks, from the first on, as one operation can; returns their number. Not
  /// the last, where the rows that nobody asks for are left out.
  std::size_t pass_together(torch::Tensor& x, std::int64_t count);
  void initialise(Initialisation initialisation, Seed seed);

  TransformerOptions options_;
  torch::Tensor token_embedding_;      // [K+1 or K, C]
  torch::Tensor position_embedding_;   // [L, C]
  torch::Tensor start_token_;          // [C], autoregressive only, but where the class starts
  torch::Tensor class_embedding_;      // [classes + 1, C]
  torch::Tensor condition_positions_;  // [P, C]
  Linear condition_projection_{nullptr};
  Condition none_;
  std::vector<Block> blocks_;
  std::vector<SparseAttention> sparse_;  // local and strided, where layers are sparse
  LayerNorm final_norm_{nullptr};
  Linear head_{nullptr};
  std::optional<torch::Generator> dropout_generator_;
  CudaGraph recorded_;
};
TORCH_MODULE(Transformer);

/// The tensors of a transformer of these sizes, by their names on disk; takes no memory.
ShapeMap transformer_shapes(const TransformerOptions& options);

/// A transformer from the content of its config.json and tensors, in evaluation mode.
Transformer load_transformer(const nlohmann::json& config, const TensorMap& tensors, const std::string& where,
                             WeightLoading loading = WeightLoading::copy);

}  // namespace tessera
