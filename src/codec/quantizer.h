/// Vector quantisers behind one interface: latents [N, D, h, w] in, codes and quantised latents out.
#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "codec/codec_options.h"
#include "runtime/random.h"

namespace tessera {

/// What a training forward pass through a quantiser yields.
struct QuantizerOutput {
  torch::Tensor quantized;  // [N, D, h, w]; gradients reach the encoder straight through
  torch::Tensor indices;    // [N, h, w] int64
  torch::Tensor loss;       // scalar: codebook and commitment terms, or the weighted KL term
  torch::Tensor seen;       // what the codebook is to follow, for follow(); undefined: it follows nothing, or did
};

/// What a quantiser may depend on besides its input.
struct QuantizerContext {
  std::int64_t step = 0;  // training step, for annealing
  Seed seed = 0;          // of the Gumbel noise
  // Of a shard of a batch:
  std::int64_t first_row = 0;  // its first image's place in the batch
  bool follows = true;         // false: a codebook of moving averages waits for follow()
};

class QuantizerImpl : public torch::nn::Module {
 public:
  /// Training: codes with gradients and the loss.
  virtual QuantizerOutput quantize(const torch::Tensor& latents, const QuantizerContext& context) = 0;
  /// The moving averages of a training step. In: the sum of QuantizerOutput::seen over the step's shards.
  virtual void follow(const torch::Tensor& /*seen*/) {}
  /// Inference: the deterministic codes [N, h, w] of latents [N, D, h, w].
  virtual torch::Tensor codes(const torch::Tensor& latents) = 0;
  /// Codes [N, h, w] -> codebook rows [N, D, h, w].
  torch::Tensor embed(const torch::Tensor& indices) const;
  /// The codebook, [K, D].
  virtual torch::Tensor codebook() const = 0;
  /// Overwrites the codebook rows `rows` [m] with `vectors` [m, D] (k-means start, re-seeding of dead codes).
  virtual void replace_rows(const torch::Tensor& rows, const torch::Tensor& vectors) = 0;
  /// The vectors that codebook rows are compared with, [M, D]: what k-means and re-seeding draw from.
  virtual torch::Tensor candidates(const torch::Tensor& latents) const;
};

/// The quantiser that the options name, with the originals' initialisation.
std::shared_ptr<QuantizerImpl> make_quantizer(const CodecOptions& options);

/// Nearest row of codebook [K, D] for rows [M, D] by Euclidean distance in float32, as one matrix product a block.
/// Out: [M] int64, lowest index on ties.
torch::Tensor nearest_rows(const torch::Tensor& rows, const torch::Tensor& codebook);

/// Nearest-neighbour quantiser with straight-through gradient (arXiv:1711.00937). With options.unit_length latents and
/// codes are divided by their Euclidean length first, so that the nearest is the one of greatest cosine, and codebook()
/// is of unit length (ViT-VQGAN, arXiv:2110.04627, section 3.2; LlamaGen).
class NearestQuantizerImpl : public QuantizerImpl {
 public:
  explicit NearestQuantizerImpl(const CodecOptions& options);
  QuantizerOutput quantize(const torch::Tensor& latents, const QuantizerContext& context) override;
  torch::Tensor codes(const torch::Tensor& latents) override;
  torch::Tensor codebook() const override;
  void replace_rows(const torch::Tensor& rows, const torch::Tensor& vectors) override;

 private:
  /// [N, D, h, w] as they are compared.
  torch::Tensor compared(const torch::Tensor& latents) const;

  double beta_;
  bool unit_length_;
  BetaTerm beta_term_;
  torch::Tensor embedding_;  // [K, D]
};

/// Codebook that follows exponential moving averages of the latents assigned to each row (arXiv:1711.00937, appendix
/// A.1).
class EmaQuantizerImpl : public QuantizerImpl {
 public:
  explicit EmaQuantizerImpl(const CodecOptions& options);
  QuantizerOutput quantize(const torch::Tensor& latents, const QuantizerContext& context) override;
  torch::Tensor codes(const torch::Tensor& latents) override;
  void follow(const torch::Tensor& seen) override;
  torch::Tensor codebook() const override { return embedding_; }
  void replace_rows(const torch::Tensor& rows, const torch::Tensor& vectors) override;

 private:
  static constexpr double kDecay = 0.99;
  static constexpr double kEpsilon = 1e-5;
  double beta_;
  torch::Tensor embedding_;      // [K, D] buffer
  torch::Tensor cluster_size_;   // [K] buffer
  torch::Tensor embedding_sum_;  // [K, D] buffer
};

/// Gumbel-softmax quantiser (arXiv:1611.01144) with a uniform prior over codes.
class GumbelQuantizerImpl : public QuantizerImpl {
 public:
  explicit GumbelQuantizerImpl(const CodecOptions& options);
  QuantizerOutput quantize(const torch::Tensor& latents, const QuantizerContext& context) override;
  torch::Tensor codes(const torch::Tensor& latents) override;  // noise-free argmax
  torch::Tensor codebook() const override { return embedding_; }
  void replace_rows(const torch::Tensor& rows, const torch::Tensor& vectors) override;

  /// [N, D, h, w] -> [N, K, h, w].
  torch::Tensor logits(const torch::Tensor& latents) const;
  /// Relaxed latents for given noise [N, K, h, w]: sum over codes of softmax((logits + noise) / temperature) times row.
  torch::Tensor relax(const torch::Tensor& logits, const torch::Tensor& noise, double temperature) const;
  /// mean over cells of sum_k q log(q K + 1e-10), q = softmax(logits).
  static torch::Tensor kl_from_uniform(const torch::Tensor& logits);
  /// max(1/16, 1 - step / 160000): the release's annealing.
  static double temperature_at(std::int64_t step);

  double kl_weight = 1e-8;
  bool straight_through = false;

 private:
  torch::Tensor weight_, bias_;  // proj: [K, D, 1, 1], [K]
  torch::Tensor embedding_;      // [K, D]
};

}  // namespace tessera
