#include "training/batch_shards.h"

#include <algorithm>
#include <cmath>

#include "runtime/error.h"
#include "training/gradient_exchange.h"

namespace tessera {

Field ShardRecipe::shards_field() {
  return {
      "shards",
      "parts of equal size that the batch is cut into, whose gradients are averaged: as many as the most ranks that "
      "share the training, so that 1, 2, 4 ... of them learn the same bits; more need less memory",
      &shards};
}

Field ShardRecipe::gradient_type_field() {
  return {"gradient_type",
          "float32, or bfloat16: gradients of shards are rounded to it before they are added, and travel between ranks "
          "in half the bytes",
          &gradient_type};
}

void ShardRecipe::validate(std::int64_t batch_size) const {
  require(shards >= 1 && batch_size % shards == 0, "recipe: shards {}, expected a number that divides batch_size {}",
          shards, batch_size);
  require(gradient_type == "float32" || gradient_type == "bfloat16",
          "recipe: gradient_type '{}', expected float32 or bfloat16", gradient_type);
  require(gradient_type == "float32" || shards > 1,
          "recipe: gradient_type {} is not used by one shard: expected more shards, or float32", gradient_type);
}

BatchShards::BatchShards(std::shared_ptr<const Ranks> ranks, std::int64_t batch, const ShardRecipe& recipe)
    : ranks_(ranks ? std::move(ranks) : std::make_shared<const Ranks>()),
      batch_(batch),
      shards_(recipe.shards),
      gradient_type_(recipe.gradient_type == "bfloat16" ? torch::kBFloat16 : torch::kFloat32) {
  recipe.validate(batch);
  require(shards_ >= ranks_->count(),
          "recipe: shards {} for {} ranks, expected at least one for each: as many as the largest number of ranks that "
          "the training is to run on, a power of two",
          shards_, ranks_->count());
  own_ = leaves_of(shards_, ranks_->rank(), ranks_->count());
}

std::shared_ptr<const Ranks> BatchShards::ranks_of_optimizer() const {
  return ranks_->count() > 1 && ranks_->options().shard_optimizer ? ranks_ : nullptr;
}

torch::Tensor BatchShards::rows_of(const torch::Tensor& own_rows, std::int64_t shard) const {
  if (shards_ == 1) return own_rows;
  const auto first = (shard - own_.begin) * rows_each();
  return own_rows.slice(0, first, first + rows_each());
}

torch::Tensor BatchShards::sum(const LeafValue& of_shard) const {
  std::vector<std::int64_t> shape;
  const auto flat = ranks_->sum(shards_, [&](std::int64_t shard) {
    const auto value = of_shard(shard);
    shape = value.sizes().vec();
    return value.reshape({-1});
  });
  return flat.view(shape);
}

torch::Tensor BatchShards::mean(const LeafValue& of_shard) const {
  const auto total = sum(of_shard);
  return shards_ == 1 ? total : total / static_cast<double>(shards_);
}

torch::Tensor BatchShards::all_rows(const torch::Tensor& own_rows) const {
  return ranks_->count() == 1 ? own_rows : torch::cat(ranks_->gather(own_rows));
}

std::vector<torch::Tensor> BatchShards::made_together(std::int64_t total, std::int64_t each,
                                                      const MakeRows& make) const {
  const auto chunks = (total + each - 1) / each;
  const bool shares = chunks >= ranks_->count();  // else each makes all: too few to be worth it
  const auto own = shares ? leaves_of(chunks, ranks_->rank(), ranks_->count()) : LeafRange{0, chunks};
  std::vector<std::vector<torch::Tensor>> pieces;  // by what is made, then by chunk
  for (auto chunk = own.begin; chunk < own.end; ++chunk) {
    const auto made = make(chunk * each, std::min(total, (chunk + 1) * each));
    pieces.resize(made.size());
    for (std::size_t i = 0; i < made.size(); ++i) pieces[i].push_back(made[i]);
  }
  std::vector<torch::Tensor> all;
  for (const auto& of_own : pieces) all.push_back(shares ? all_rows(torch::cat(of_own)) : torch::cat(of_own));
  return all;
}

Metrics BatchShards::means(const std::vector<Metrics>& of_own) const {
  if (shards_ == 1) return of_own.front();
  std::vector<double> values;
  for (const auto& metrics : of_own) {
    for (const auto& [name, value] : metrics) values.push_back(value);
  }
  const auto each = static_cast<std::int64_t>(of_own.front().size());
  const auto own = torch::tensor(values, torch::kFloat64).view({static_cast<std::int64_t>(of_own.size()), each});
  const auto means = all_rows(own).sum(0) / static_cast<double>(shards_);
  Metrics result = of_own.front();
  std::int64_t at = 0;
  for (auto& [name, value] : result) value = means[at++].item<double>();
  return result;
}

Metrics BatchShards::minimise(Adam& adam, const ShardLoss& loss, double learning_rate, const std::string& name,
                              const std::string& what, std::int64_t step) const {
  if (shards_ == 1) {
    Metrics metrics;
    const auto value = loss(0, metrics);
    metrics[name] = value.item<double>();
    metrics["gradient_norm"] = adam.minimise(value, learning_rate, what, step);
    return metrics;
  }
  std::vector<Metrics> of_own;
  GradientExchange exchange(ranks_, shards_, adam.parameters(), adam.owners(), gradient_type_);
  for (auto shard = own_.begin; shard < own_.end; ++shard) {
    auto& metrics = of_own.emplace_back();
    const auto value = loss(shard, metrics);
    metrics[name] = value.item<double>();
    exchange.add(shard, [&] { value.backward(); });
  }
  exchange.finish();
  auto metrics = means(of_own);
  require(std::isfinite(metrics[name]), "{} is {} at step {}", what, metrics[name], step);
  metrics["gradient_norm"] = adam.step(learning_rate);
  return metrics;
}

}  // namespace tessera
