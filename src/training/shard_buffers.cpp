#include "training/shard_buffers.h"

namespace tessera {

ShardBuffers::ShardBuffers(torch::nn::Module& network, const BatchShards& shards)
    : network_(network), shards_(shards), of_own_(static_cast<std::size_t>(shards.own().size())) {
  if (shards_.count() > 1) before_ = copies();
}

std::vector<torch::Tensor> ShardBuffers::copies() const {
  std::vector<torch::Tensor> made;
  for (const auto& buffer : network_.buffers()) made.push_back(buffer.detach().clone());
  return made;
}

void ShardBuffers::put(const std::vector<torch::Tensor>& values) {
  const torch::NoGradGuard no_grad;
  const auto buffers = network_.buffers();
  // Through data(): a backward pass that comes later does not read them, but would object to their change.
  for (std::size_t i = 0; i < buffers.size(); ++i) buffers[i].data().copy_(values[i]);
}

torch::Tensor ShardBuffers::during(std::int64_t shard, const std::function<torch::Tensor()>& pass) {
  if (shards_.count() == 1) return pass();
  auto& own = of_own_[static_cast<std::size_t>(shard - shards_.own().begin)];
  put(own.empty() ? before_ : own);
  auto result = pass();
  own = copies();
  return result;
}

void ShardBuffers::finish() {
  if (shards_.count() == 1) return;
  auto values = of_own_.front();  // counts of passes are the same for all
  std::vector<torch::Tensor> flat;
  const auto mean = shards_.mean([&](std::int64_t shard) {
    flat.clear();
    for (const auto& value : of_own_[static_cast<std::size_t>(shard - shards_.own().begin)]) {
      if (value.is_floating_point()) flat.push_back(value.reshape({-1}));
    }
    return torch::cat(flat);
  });
  std::int64_t at = 0;
  for (auto& value : values) {
    if (!value.is_floating_point()) continue;
    value = mean.slice(0, at, at + value.numel()).view(value.sizes());
    at += value.numel();
  }
  put(values);
}

}  // namespace tessera
