/// Pictures and captions in one model: a bidirectional transformer over one sequence of a caption's words and a
/// picture's codes, any of which may be MASK. Either side is filled given the other, both from nothing, or either
/// partly. After the closing remark of Bond-Taylor et al., arXiv:2111.12701 ("text-to-image generation and image
/// captioning ... using a single model"); masks of each side drawn apart as in Bao et al., UniDiffuser,
/// arXiv:2303.06555, section 3.2.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "denoiser/denoiser.h"
#include "denoiser/transformer.h"
#include "tokens/token_grid.h"

namespace tessera {

struct JointOptions {
  std::int64_t codebook_size = 1024;  // K
  Extent grid{16, 16};
  std::int64_t vocabulary = 0;  // V, ids of a tokenizer's words
  std::int64_t words = 32;      // P, ids of a caption, padded
  std::int64_t layers = 6;
  std::int64_t heads = 4;
  std::int64_t width = 256;
  double dropout = 0;  // in [0, 1), while training; 0 disables

  /// The network over P + L places: words first, as codes K .. K + V - 1; MASK is K + V.
  TransformerOptions sequence() const;
  /// Throws Error naming the value that is out of range.
  void validate() const;
  nlohmann::json to_config() const;
  static JointOptions from_config(const nlohmann::json& config);
};

/// One sequence of words [N, P] in 0..V and codes [N, L] in 0..K, where V and K are MASK: [N, P + L] int64.
torch::Tensor joint_sequence(const JointOptions& options, const torch::Tensor& words, const torch::Tensor& codes);

enum class JointSide { picture, caption };

/// The network as a denoiser of one side, conditioned on the other: Condition::states are the other side's tokens as
/// numbers, [P, 1] or [L, 1], MASK where they are not known; null_states what stands for nothing, all MASK. Its grid is
/// the picture's, or {1, P}. Parameters: those of TransformerImpl over the sequence.
class JointDenoiser : public Denoiser {
 public:
  JointDenoiser(Transformer network, const JointOptions& options, JointSide side);

  /// The same weights for the other side.
  std::shared_ptr<JointDenoiser> other_side() const;
  const JointOptions& options() const { return options_; }
  /// MASK everywhere: what the other side is where nothing is known of it, [P, 1] or [L, 1] float32.
  torch::Tensor nothing_known() const;

  std::int64_t codebook_size() const override {
    return side_ == JointSide::picture ? options_.codebook_size : options_.vocabulary;
  }
  torch::Device device() const override { return network_->device(); }
  std::int64_t parameter_count() const override { return network_->parameter_count(); }
  std::unique_ptr<Evaluator> begin(const std::vector<Condition>& conditions = {}) override;

 private:
  Transformer network_;
  JointOptions options_;
  JointSide side_;
};

}  // namespace tessera
