/// Keys and values that cheaper evaluations take from an earlier, full one: "context feature reuse" (ReCAP), Liu et
/// al., arXiv:2505.19089. Few cells change between two steps, and the features of the others hardly do; so between full
/// evaluations a network computes only the cells that are asked for and those whose token has changed, which see the
/// rest by the keys and values that it had at the last full evaluation. A look that finds no change computes the same
/// function as a full one.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "denoiser/denoiser.h"
#include "kernels/ops/layers.h"

namespace tessera {

/// `keep`: a full evaluation whose keys and values are kept for looks at the same image (Look::key) that follow;
/// `reuse`: a cheaper one that takes those of cells that are not asked for and have not changed since then.
enum class ContextUse { keep, reuse };

/// Evaluators of networks that can.
class ContextEvaluator : public Evaluator {
 public:
  /// logits() of a look at one image. A reuse for which nothing fitting was kept is a full evaluation, kept from then
  /// on.
  virtual torch::Tensor logits_in_context(const Look& look, ContextUse use) = 0;
};

/// What a full evaluation of one image leaves behind. S: the network's places, first the L cells, then those that stand
/// for none (registers).
struct KeptContext {
  torch::Tensor tokens;                     // [L] int64, as it saw them
  std::vector<std::int64_t> evaluations;    // says which rows it was of (with and without a condition ...)
  std::vector<torch::Tensor> keys, values;  // of each attention, in the network's order, [N, S, C]
  torch::Tensor hidden;                     // what `whole` was given, [N, S, C]; undefined: nothing
};

/// One evaluation that keeps, or takes over, keys and values. The network asks it at the places named below.
class ContextPass {
 public:
  /// A full evaluation, of which everything is kept in place of what was.
  explicit ContextPass(KeptContext& kept) : kept_(kept) {}
  /// A cheaper one: of each row only these places are computed, [q] int64 ascending.
  ContextPass(KeptContext& kept, torch::Tensor places) : kept_(kept), places_(std::move(places)) {}

  bool is_partial() const { return places_.defined(); }
  /// The places that are computed of x [N, S, C]: x itself, or [N, q, C].
  torch::Tensor taken(const torch::Tensor& x) const;
  /// In: flat places n * S + s of which all are computed. Out: where they are among the computed, n * q + i.
  torch::Tensor rows(const torch::Tensor& flat, std::int64_t places) const;
  /// attention() of the computed places to all. Each attention of the network in its order.
  torch::Tensor attend(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v, std::int64_t heads,
                       double scale, Precision precision);
  /// Of the computed places' x all places', the others as the full evaluation had them: for what follows them all.
  torch::Tensor whole(const torch::Tensor& x);

 private:
  KeptContext& kept_;
  torch::Tensor places_;
  std::size_t attention_ = 0;
};

/// How a network's places follow from an image's cells.
struct ContextPlaces {
  std::int64_t others = 0;  // places after the cells', always computed
  std::int64_t side = 1;    // cells along an edge of a place
  std::int64_t width = 0;   // cells in a row of the image, where side is above 1
};

/// The contexts of an evaluator's images.
class KeptContexts {
 public:
  /// The pass of a look at one image; none: an ordinary evaluation, as without a use. In: evaluations, which rows the
  /// network is given; where they are others than those kept, the evaluation is a full one.
  std::optional<ContextPass> pass_of(const Look& look, std::optional<ContextUse> use,
                                     const std::vector<std::int64_t>& evaluations, const ContextPlaces& as = {});

 private:
  std::map<std::pair<Seed, std::uint64_t>, KeptContext> kept_;
};

}  // namespace tessera
