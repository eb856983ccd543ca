/// What a sampler needs of a network: p(x0 | xt) for given tokens, as logits. The transformers implement it; tests use
/// exact tables.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "runtime/random.h"

namespace tessera {

/// The running state of an autoregressive decoding of N rows (its key and value cache).
class Decoding {
 public:
  virtual ~Decoding() = default;
  /// In: previous [N] int64, the tokens chosen after the last call; undefined at the first call.
  /// Out: [N, K] logits of the next cell. Throws Error after the last cell.
  virtual torch::Tensor advance(const torch::Tensor& previous) = 0;
  /// The share of each row's guidance that counts from here on, as Look::guidance; at first all of it.
  virtual void guide(const std::vector<double>& /*shares*/) {}
};

/// What an image is conditioned on, and how much. Networks read what they know of it.
struct Condition {
  torch::Tensor states, null_states;         // [P, condition_width]: of the prompt, of no (or the negative) prompt
  std::int64_t label = -1, null_label = -1;  // of models with classes; -1: none
  double scale = 1;  // 1: the condition alone; 0: no condition; above 1: away from the null condition
  torch::Tensor pooled = {},
                null_pooled = {};  // [pooled width]: the same texts as one vector each, of networks told it
  torch::Tensor micro = {};  // [5] of aMUSEd: width and height (pixels), crop, aesthetic score; undefined: its own

  /// Whether an image is told the same by both: the states are the same tensors.
  bool same_as(const Condition& other) const;
};

/// What a batch is conditioned on; rows 1 or N.
struct ConditionBatch {
  torch::Tensor states;   // [N, P, condition_width] for models with text
  torch::Tensor classes;  // [N] int64 for models with classes; -1: none, which is the mean of all
  // In place of states: what keys_and_values made of the states of U texts, and the text of each row, [N] int64.
  torch::Tensor keys_and_values, texts;
};

/// Of each condition the first in the list that says the same; what is computed for one serves all of its kind.
std::vector<std::int64_t> first_of_its_kind(const std::vector<Condition>& conditions);

/// One look of an evaluator at some grids.
struct Look {
  torch::Tensor tokens;      // [N, L] int64 with values 0..K
  torch::Tensor rows;        // [M] int64, flat cells n * L + l whose logits are wanted
  torch::Tensor times = {};  // [N] or [1] int64 in 1..T, of the process; networks that see no time need none
  // [N]: which of the conditions each row of tokens is under; empty: row n under condition n, or all under the only one
  std::vector<std::int64_t> conditions = {};
  // [N]: share of each row's guidance that counts, in [0, 1]: scales s become 1 + share (s - 1). Empty: all of it.
  std::vector<double> guidance = {};
  // The image and the sampler's step, for what draws by them (windows at random).
  ImageKey key = {};
  std::uint32_t step = 0;

  /// The scale s of row n as it counts now.
  double scaled(std::int64_t n, double scale) const {
    return guidance.empty() ? scale : 1 + guidance.at(static_cast<std::size_t>(n)) * (scale - 1);
  }
  /// The condition of row n of `count` conditions.
  std::int64_t condition_of(std::int64_t n, std::int64_t count) const;
};

/// Owns what belongs to one run: the conditions of its images and what is computed of them once (the keys and values
/// of a text, say). For one thread; the denoiser that began it outlives it and may have begun others meanwhile.
class Evaluator {
 public:
  virtual ~Evaluator() = default;
  /// Out: [M, K] logits of the cells asked for, wherever the network is.
  virtual torch::Tensor logits(const Look& look) = 0;
  /// Starts decoding `count` rows cell by cell. conditions: as Look::conditions. Throws Error where the network is not
  /// autoregressive.
  virtual std::unique_ptr<Decoding> decode(std::int64_t count, const std::vector<std::int64_t>& conditions = {});
  /// Logits of every cell given those before it and the condition alone, in one pass. In: tokens [N, L] int64; first:
  /// row n is under condition first + n (or the only one). Out: [N, L, K]. Throws Error where the network is not
  /// autoregressive.
  virtual torch::Tensor logits_in_order(const torch::Tensor& tokens, std::int64_t first = 0);
};

/// A network p(x0 | xt) over token grids. Nothing in it changes while evaluators of it are used.
class Denoiser {
 public:
  virtual ~Denoiser() = default;
  /// K: tokens are 0..K-1, MASK is K.
  virtual std::int64_t codebook_size() const = 0;
  /// Where its parameters are; tokens may be given on any device.
  virtual torch::Device device() const { return torch::kCPU; }
  virtual std::int64_t parameter_count() const { return 0; }
  /// true: evaluators decode and have no logits.
  virtual bool is_autoregressive() const { return false; }
  /// true: looks need times.
  virtual bool sees_time() const { return false; }
  /// conditions: one for each image, or one for all; empty: none. Throws Error where one does not fit the network.
  virtual std::unique_ptr<Evaluator> begin(const std::vector<Condition>& conditions = {}) = 0;
};

}  // namespace tessera
