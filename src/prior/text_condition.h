/// Prompts as the states that a denoiser is conditioned on: tokenizer, text encoder, and what stands for no text.
/// Gu et al., arXiv:2111.14822, section 4.3; the learned null condition: Tang et al., arXiv:2205.16007, section 3.1.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <optional>
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

  /// Weights of the largest encoder that is kept in memory between prompts. CLIP's of ViT-L/14 (124 million) takes half
  /// a gigabyte beside a denoiser that is at work for seconds a picture; it is made anew in a few tenths of a second.
  static constexpr std::int64_t kMostKeptWeights = 100'000'000;

  /// From a bundle's text_encoder, tokenizer and learned embeddings. An encoder of more weights than `most_kept` lives
  /// while a prompt is encoded, and is made from the bundle's tensors for the next that is not remembered. Throws Error
  /// naming what is missing or does not fit; `where` begins it.
  static TextCondition load(const Bundle& parts, const std::string& where, std::int64_t most_kept = kMostKeptWeights);

  /// Of a network that reads the words themselves (denoiser/joint.h): a prompt's `length` ids as numbers, [P, 1]; no
  /// text is `vocabulary` (MASK) everywhere, and so is what follows a prompt that ends in "...": it is open. Throws
  /// Error where the tokenizer has another vocabulary; `where` begins it.
  static TextCondition of_words(ClipTokenizer tokenizer, std::int64_t length, std::int64_t vocabulary,
                                const std::string& where);

  /// A prompt's states, each position of length 1 (VQ-Diffusion); of an encoder with a projection what enters its last
  /// layer, as it is, and the text as one vector (aMUSEd, arXiv:2401.01808, section 3). A prompt that is too long is
  /// cut, with a warning. The same tensors for the same prompt, as long as it is remembered.
  EncodedText encoded(const std::string& prompt);
  EncodedText null_text();
  torch::Tensor states(const std::string& prompt) { return encoded(prompt).states; }
  torch::Tensor null_states() { return null_text().states; }

  const ClipTokenizer& tokenizer() const { return tokenizer_; }
  const ClipTextOptions& options() const { return options_; }
  /// Where prompts are encoded.
  void to(torch::Device device);
  /// The encoder itself, which is kept from now on.
  ClipTextEncoder& encoder();

 private:
  /// What an encoder that is not kept is made from.
  struct Source {
    BundlePart part;
    std::string where;
    ClipTextEncoder encoder(bool in_passing) const;
  };

  explicit TextCondition(ClipTokenizer tokenizer);
  bool is_of_words() const { return !source_ && !encoder_; }
  EncodedText words_of(const std::string& prompt) const;
  ClipTextEncoder& made();

  ClipTokenizer tokenizer_;
  ClipTextOptions options_;
  ClipTextEncoder encoder_{nullptr};  // null while it is not needed, and of words
  std::optional<Source> source_;      // absent: the encoder is kept
  torch::Device device_ = torch::kCPU;
  torch::Tensor null_embedding_;
  struct Known;
  std::shared_ptr<Known> known_;  // states of the latest prompts
};

}  // namespace tessera
