/// Buffers of a network that a forward pass changes (the running statistics of batch norm), where a step's batch is
/// passed in shards: each shard changes its own copy of what there was before the step, and the step ends with their
/// mean, whoever passed which.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "training/batch_shards.h"

namespace tessera {

class ShardBuffers {
 public:
  ShardBuffers(torch::nn::Module& network, const BatchShards& shards);
  /// What `pass` returns, with the shard's buffers in the network meanwhile.
  torch::Tensor during(std::int64_t shard, const std::function<torch::Tensor()>& pass);
  /// The end of the step.
  void finish();

 private:
  std::vector<torch::Tensor> copies() const;
  void put(const std::vector<torch::Tensor>& values);

  torch::nn::Module& network_;
  const BatchShards& shards_;
  std::vector<torch::Tensor> before_;
  std::vector<std::vector<torch::Tensor>> of_own_;  // by shard of this rank; empty: not passed yet
};

}  // namespace tessera
