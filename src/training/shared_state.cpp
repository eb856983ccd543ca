#include "training/shared_state.h"

#include <ATen/Parallel.h>

#include <map>
#include <nlohmann/json.hpp>

#include "runtime/bounded_json.h"
#include "runtime/error.h"
#include "runtime/log.h"

namespace tessera {

void check_same_task(const Ranks& ranks, const TrainingTask& task) {
  if (ranks.count() == 1) return;
  const auto recipes = ranks.gather_texts(task.recipe().dump());
  const auto first = json_or_discarded(recipes.front());
  for (std::size_t rank = 1; rank < recipes.size(); ++rank) {
    if (recipes[rank] == recipes.front()) continue;
    const auto other = json_or_discarded(recipes[rank]);
    for (const auto& [name, value] : first.items()) {
      const auto there = other.value(name, nlohmann::json());
      require(value == there, "rank {} has {} {}, rank 0 has {}: expected one recipe and the same data on all ranks",
              rank, name, there.dump(), value.dump());
    }
    fail("rank {} has another recipe than rank 0", rank);
  }
  const auto threads = ranks.gather(torch::tensor({at::get_num_threads()}, torch::kInt64));
  for (std::size_t rank = 1; rank < threads.size(); ++rank) {
    const auto its = threads[rank].item<std::int64_t>(), of_first = threads[0].item<std::int64_t>();
    if (its == of_first || !ranks.is_first()) continue;
    log().warn(
        "rank {} computes with {} threads, rank 0 with {}: sums may round otherwise, so that another number of "
        "ranks learns other bits; -t gives all the same",
        rank, its, of_first);
  }
}

void share_state(const Ranks& ranks, TrainingTask& task) {
  if (ranks.count() == 1) return;
  TensorMap tensors;
  task.save_state(tensors);  // the same names and shapes on all ranks: of one recipe
  const torch::NoGradGuard no_grad;
  std::vector<torch::Tensor> values;
  std::map<torch::ScalarType, std::vector<torch::Tensor>> flat;
  for (auto& [name, tensor] : tensors) {
    tensor = tensor.detach().to(torch::kCPU).contiguous().clone();
    flat[tensor.scalar_type()].push_back(tensor.view({-1}));
  }
  for (auto& [type, parts] : flat) {  // few large messages, not one a tensor
    auto row = torch::cat(parts);
    ranks.broadcast(row);
    std::int64_t at = 0;
    for (auto& part : parts) {
      part.copy_(row.slice(0, at, at + part.numel()));
      at += part.numel();
    }
  }
  if (!ranks.is_first()) task.load_state(tensors);
}

std::int64_t number_of_first(const Ranks& ranks, std::int64_t number) {
  if (ranks.count() == 1) return number;
  auto value = torch::tensor({number}, torch::kInt64);
  ranks.broadcast(value);
  return value.item<std::int64_t>();
}

bool any_says(const Ranks& ranks, bool says) {
  if (ranks.count() == 1) return says;
  bool any = false;
  for (const auto& each : ranks.gather(torch::tensor({says ? 1 : 0}, torch::kInt64)))
    any = any || each.item<std::int64_t>() != 0;
  return any;
}

std::optional<Judgement> judgement_of_first(const Ranks& ranks, const std::optional<Judgement>& judgement) {
  if (ranks.count() == 1) return judgement;
  const auto own = judgement.value_or(Judgement{});
  auto values =
      torch::tensor({judgement ? 1.0 : 0.0, own.score, static_cast<double>(own.phase), own.margin}, torch::kFloat64);
  ranks.broadcast(values);
  if (values[0].item<double>() == 0) return std::nullopt;
  return Judgement{values[1].item<double>(), static_cast<std::int64_t>(values[2].item<double>()),
                   values[3].item<double>()};
}

}  // namespace tessera
