/// What the grids of a batch are told, at a step of a training or at a validation: captions as tokens, class labels,
/// and which grids are told nothing (classifier-free guidance: Ho and Salimans, arXiv:2207.12598).
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "text/clip_tokenizer.h"
#include "training/prior_recipe.h"

namespace tessera {

/// One row a grid; what the recipe's condition does not have is undefined, without a condition all of it.
struct ToldRows {
  torch::Tensor ids;      // [N, P] int64, tokens of a caption
  torch::Tensor labels;   // [N] int64
  torch::Tensor dropped;  // [N] bool: told nothing

  ToldRows slice(std::int64_t first, std::int64_t last) const;
  /// Row i gets what row i + 1 has, the last one what the first has.
  ToldRows rotated() const;
  /// Of one row: that row `count` times; of none: nothing.
  ToldRows repeated(std::int64_t count) const;
  bool is_told() const { return dropped.defined(); }
};

class ConditionSource {
 public:
  /// tokenizer: of a text encoder that is taken over; else one is learned from the captions. Throws Error where the
  /// data lacks what the recipe's condition needs.
  ConditionSource(const PriorRecipe& recipe, const TokenData& data, std::optional<ClipTokenizer> tokenizer);

  /// In: rows [N] of TokenData::train. One of a grid's captions is drawn, or some of its keywords; some rows lose
  /// theirs.
  ToldRows at_step(const torch::Tensor& rows, std::int64_t step) const;
  /// The same without draws: the first caption, none lost. In: rows of ::validation or ::train.
  ToldRows as_given(const torch::Tensor& rows, bool validation) const;

  /// Null where the condition is no text.
  const ClipTokenizer* tokenizer() const { return tokenizer_ ? &*tokenizer_ : nullptr; }

 private:
  torch::Tensor ids_of(const std::vector<std::string>& captions) const;
  torch::Tensor drawn_captions(const torch::Tensor& rows, std::int64_t step) const;
  void draw_keywords(torch::Tensor& ids, const torch::Tensor& rows, std::int64_t step) const;

  PriorRecipe recipe_;
  std::optional<ClipTokenizer> tokenizer_;
  torch::Tensor train_ids_, validation_ids_;        // [n + further captions, P], [m, P]
  torch::Tensor train_labels_, validation_labels_;  // [n], [m]
  std::vector<std::vector<std::string>> keywords_;  // by training grid; empty: none are drawn
  std::vector<std::int64_t> first_more_;  // by training grid: where its further captions begin; one more at the end
  std::int64_t originals_ = 0;  // grids that have a condition of their own, which mirrored ones share; 0: no condition
};

}  // namespace tessera
