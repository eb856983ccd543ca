/// A step's batch cut into a fixed number of shards, which the ranks of a job share out. What is learned depends on the
/// number of shards, never on that of ranks: gradients and statistics of all shards are summed in one fixed tree.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "distributed/ranks.h"
#include "runtime/fields.h"
#include "training/adam.h"
#include "training/recorder.h"

namespace tessera {

/// Fields of every recipe whose training can be shared out.
struct ShardRecipe {
  std::int64_t shards = 1;
  std::string gradient_type = "float32";

  Field shards_field();
  Field gradient_type_field();
  /// Throws Error naming the field.
  void validate(std::int64_t batch_size) const;
};

class BatchShards {
 public:
  /// Throws Error where the shards do not divide the batch or are fewer than the ranks. ranks none: this process alone.
  BatchShards(std::shared_ptr<const Ranks> ranks, std::int64_t batch, const ShardRecipe& recipe);

  std::int64_t count() const { return shards_; }
  std::int64_t rows_each() const { return batch_ / shards_; }
  /// This rank's, and the rows of the batch that they are.
  LeafRange own() const { return own_; }
  LeafRange own_rows() const { return {own_.begin * rows_each(), own_.end * rows_each()}; }
  /// The rows of one of this rank's shards, of a tensor that holds this rank's rows.
  torch::Tensor rows_of(const torch::Tensor& own_rows, std::int64_t shard) const;

  /// Over all shards. In: float32 tensors of one shape, asked for this rank's shards in order.
  torch::Tensor sum(const LeafValue& of_shard) const;
  torch::Tensor mean(const LeafValue& of_shard) const;
  /// Of the whole batch, in order. In: this rank's rows (or what each shard has as many of).
  torch::Tensor all_rows(const torch::Tensor& own_rows) const;
  /// Rows of a work that is no step's, made `each` at a time, of which each rank makes a part: all of them, in order,
  /// the same whatever the ranks. In: tensors with the rows [begin, end) of `total`, or with one row for them together.
  using MakeRows = std::function<std::vector<torch::Tensor>(std::int64_t begin, std::int64_t end)>;
  std::vector<torch::Tensor> made_together(std::int64_t total, std::int64_t each, const MakeRows& make) const;
  /// Means over all shards of the figures of this rank's.
  Metrics means(const std::vector<Metrics>& of_own) const;

  /// The loss of a shard with its graph; figures of it go into `metrics`.
  using ShardLoss = std::function<torch::Tensor(std::int64_t shard, Metrics& metrics)>;
  /// One update by the mean of the shards' losses. Out: the means of their figures, with the loss under `name` and
  /// `gradient_norm`. Gradients are rounded to the recipe's gradient_type where they are added. Throws Error, beginning
  /// with `what`, before any weight changes where the loss is not finite.
  Metrics minimise(Adam& adam, const ShardLoss& loss, double learning_rate, const std::string& name,
                   const std::string& what, std::int64_t step) const;

  const Ranks& ranks() const { return *ranks_; }
  /// Those that share out the optimiser's state; none where each keeps all of it.
  std::shared_ptr<const Ranks> ranks_of_optimizer() const;

 private:
  std::shared_ptr<const Ranks> ranks_;
  std::int64_t batch_, shards_;
  torch::ScalarType gradient_type_;
  LeafRange own_;
};

}  // namespace tessera
