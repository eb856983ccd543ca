/// Halton-MaskGIT's network p(x0 | xt, class): a bidirectional transformer whose blocks a class sets. Besnier et al.,
/// "Halton scheduler for masked generative image transformer", arXiv:2503.17076; blocks as in Peebles and Xie,
/// arXiv:2212.09748 (adaLN-Zero), with RMS norms, normalised queries and keys (arXiv:2010.04245) and SwiGLU
/// (arXiv:2002.05202). Names on disk: github.com/valeoai/Halton-MaskGIT.
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
#include "tokens/token_grid.h"

namespace tessera {

struct MaskGitOptions {
  std::int64_t codebook_size = 16384;  // K; tokens are 0..K-1 and MASK (K)
  Extent grid{16, 16};
  std::int64_t layers = 12;
  std::int64_t heads = 12;
  std::int64_t head_width = 64;  // heads * head_width may be less than the width
  std::int64_t width = 768;      // C
  std::int64_t hidden = 2048;    // of the feed-forward layers
  std::int64_t classes = 1000;
  std::int64_t registers = 1;  // tokens after the cells that stand for no cell (arXiv:2309.16588)

  /// Throws Error naming the value that is out of range.
  void validate() const;
  /// The content of transformer/config.json.
  nlohmann::json to_config() const;
  /// Throws Error naming the missing or wrong field.
  static MaskGitOptions from_config(const nlohmann::json& config);
};

/// What U classes make of the norms and residual branches: the same at every step of a run. All [U, C] float32 or
/// wider.
struct MaskGitClasses {
  struct OfBlock {
    torch::Tensor gain1, shift1, gate1;  // of the attention
    torch::Tensor gain2, shift2, gate2;  // of the feed-forward layer
  };
  std::vector<OfBlock> blocks;
  torch::Tensor last_gain, last_shift;
};

/// Parameters (names on disk): cls_emb.weight [classes + 1, C] (last row: no class), tok_emb.weight [K + 1, C] (last
/// row MASK; also the head's weight), pos_emb.weight [L, C], reg_tokens.weight [registers, C], transformer.layers.N...,
/// last_norm..., head.bias [K + 1].
class MaskGitTransformerImpl : public NamedModule {
 public:
  explicit MaskGitTransformerImpl(const MaskGitOptions& options);

  /// Differentiable. In: tokens [N, L] int64 in 0..K; classes [N] int64, -1: none. Out: logits [N, L, K + 1], float32
  /// or wider: MASK has one, too. With rows [M] (flat cells n * L + l) only those go through the last block's
  /// feed-forward layer and the head: [M, K + 1].
  torch::Tensor forward(const torch::Tensor& tokens, const torch::Tensor& classes, const torch::Tensor& rows = {});

  /// In: classes [U] int64, -1: none.
  MaskGitClasses read(const torch::Tensor& classes);
  /// forward for classes that have been read; of_each [N] int64: which of them each row is told. context: keeps or
  /// reuses keys and values; null: neither.
  torch::Tensor forward(const torch::Tensor& tokens, const MaskGitClasses& read, const torch::Tensor& of_each,
                        const torch::Tensor& rows, ContextPass* context = nullptr);

  /// Outputs of named inner parts, for comparison with other implementations: set to a map to have it filled.
  void record(TensorMap* outputs) { record_ = outputs; }

  /// As NamedModule's.
  void load_weights(const TensorMap& tensors, const std::string& where, WeightLoading loading);
  void set_precision(Precision precision);
  const MaskGitOptions& options() const { return options_; }
  torch::Device device() const { return tokens_.device(); }

 private:
  struct Block {
    Linear condition{nullptr};  // C to 6 C: shift, scale, gate of attention, then of the feed-forward layer
    torch::Tensor norm1, norm2;
    Linear query{nullptr}, key{nullptr}, value{nullptr}, output{nullptr};
    Linear gate{nullptr}, down{nullptr}, up{nullptr};  // w1, w2, w3
  };
  Linear product(const std::string& name, std::int64_t in, std::int64_t out);
  /// softmax(q k^T) v of normalised queries and keys. In: normed [N, S, C]. Out: [N, S, heads * head_width].
  torch::Tensor mix(Block& block, const torch::Tensor& normed, ContextPass* context);
  /// The products of the condition, which compute in float32.
  std::vector<Linear> layers_of_condition() const;
  void note(const std::string& name, const torch::Tensor& x) const;

  MaskGitOptions options_;
  Precision precision_ = Precision::float32;
  torch::Tensor classes_, tokens_, positions_, registers_;
  std::vector<Block> blocks_;
  torch::Tensor last_norm_weight_, last_norm_bias_;
  Linear last_condition_{nullptr};  // C to 2 C: shift, scale
  torch::Tensor head_bias_;
  PackedWeight head_;  // of tokens_
  TensorMap* record_ = nullptr;
};
TORCH_MODULE(MaskGitTransformer);

/// From the content of config.json and tensors, in evaluation mode.
MaskGitTransformer load_maskgit(const nlohmann::json& config, const TensorMap& tensors, const std::string& where,
                                WeightLoading loading = WeightLoading::copy);

/// The network as a denoiser: a class for each image, guided as u + scale (c - u) on the logits, which is the
/// original's (1 + w) c - w u with scale = 1 + w. Its logits are those of the K codes: what the network gives to MASK
/// is left out, so that a cell that is drawn is filled and the codes keep their proportions.
class MaskGitDenoiser : public Denoiser {
 public:
  explicit MaskGitDenoiser(MaskGitTransformer network) : network_(std::move(network)) {}

  const MaskGitTransformer& network() const { return network_; }

  std::int64_t codebook_size() const override { return network_->options().codebook_size; }
  torch::Device device() const override { return network_->device(); }
  std::int64_t parameter_count() const override { return network_->parameter_count(); }
  std::unique_ptr<Evaluator> begin(const std::vector<Condition>& conditions = {}) override;

 private:
  MaskGitTransformer network_;
};

}  // namespace tessera
