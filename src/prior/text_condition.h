/// Prompts as the states that a denoiser is conditioned on: tokenizer, text encoder, and what stands for no text.
/// Gu et al., arXiv:2111.14822, section 4.3; the learned null condition: Tang et al., arXiv:2205.16007, section 3.1.
#pragma once

#include <torch/torch.h>

#include <memory>
#include <string>

#include "checkpoint/bundle.h"
#include "text/clip_text_encoder.h"
#include "text/clip_tokenizer.h"

namespace tessera {

/// A prompt as a network is told it.
struct EncodedText {
  torch::Tensor states;  // [P, C], one a position
  torch::Tensor pooled;  // [projection], the text as one vector; undefined: the encoder has none
};

class TextCondition {
 public:
  /// null_embedding [P, C] as learned; undefined: the states of the empty prompt.
  TextCondition(ClipTokenizer tokenizer, ClipTextEncoder encoder, torch::Tensor null_embedding);

  /// From a bundle's text_encoder, tokenizer and learned embeddings. Throws Error naming what is missing or does not
  /// fit; `where` begins it.
  static TextCondition load(const Bundle& parts, const std::string& where);

  /// A prompt's states, each position of length 1 (VQ-Diffusion); of an encoder with a projection what enters its last
  /// layer, as it is, and the text as one vector (aMUSEd, arXiv:2401.01808, section 3). A prompt that is too long is
  /// cut, with a warning. The same tensors for the same prompt, as long as it is remembered.
  EncodedText encoded(const std::string& prompt);
  EncodedText null_text();
  torch::Tensor states(const std::string& prompt) { return encoded(prompt).states; }
  torch::Tensor null_states() { return null_text().states; }

  const ClipTokenizer& tokenizer() const { return tokenizer_; }
  ClipTextEncoder& encoder() { return encoder_; }

 private:
  ClipTokenizer tokenizer_;
  ClipTextEncoder encoder_;
  torch::Tensor null_embedding_;
  struct Known;
  std::shared_ptr<Known> known_;  // states of the latest prompts
};

}  // namespace tessera
