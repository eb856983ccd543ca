/// The gradients of a step, summed over the shards of its batch and the ranks that share them out.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "distributed/ranks.h"

namespace tessera {

/// One step's. Gradients travel in buckets of some 4 MB, those of the last layers first; where the ranks were started
/// with `overlap_gradients`, a bucket travels while the gradients of earlier layers are still computed (as PyTorch's
/// DistributedDataParallel does: arXiv:2006.15704, 3.2.3). What is summed and in which order is the same without.
class GradientExchange {
 public:
  /// owners: for each parameter the rank that is to have its gradient; empty: all have all. type: what gradients are
  /// rounded to before they are added, and travel as: float32 or bfloat16.
  GradientExchange(std::shared_ptr<const Ranks> ranks, std::int64_t shards, std::vector<torch::Tensor> parameters,
                   std::vector<int> owners, torch::ScalarType type);
  /// Where `finish` was not called, an exchange that goes on is left to itself: the other ranks are told of the
  /// failure.
  ~GradientExchange();

  /// In: this rank's shards, in order; what back-propagates the loss of one of them into the parameters' gradients.
  void add(std::int64_t shard, const std::function<void()>& backward);
  /// Every parameter of this rank's has the mean over all shards as its gradient, where any shard has one; others have
  /// none. Throws LostRank.
  void finish();

 private:
  struct State;
  std::shared_ptr<State> state_;  // of the thread that exchanges, too
};

}  // namespace tessera
