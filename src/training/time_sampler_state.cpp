#include "training/time_sampler_state.h"

#include <utility>

#include "runtime/error.h"

namespace tessera {

void save_times(const TimeSampler& times, TensorMap& into) {
  into["times.loss_history"] = times.loss_history;
  into["times.bound_history"] = times.bound_history;
  into["times.bound_count"] = times.bound_count;
}

void load_times(TimeSampler& times, const TensorMap& from) {
  for (const auto& [name, into] :
       {std::pair{"times.loss_history", times.loss_history}, std::pair{"times.bound_history", times.bound_history},
        std::pair{"times.bound_count", times.bound_count}}) {
    const auto found = from.find(name);
    require(found != from.end() && found->second.sizes() == into.sizes(),
            "training state: '{}' is missing or has another shape", name);
    torch::Tensor(into).copy_(found->second);
  }
}

torch::Tensor seen_times(const torch::Tensor& t, const TrainingLoss& losses) {
  const auto row = [](const torch::Tensor& values) { return values.detach().to(torch::kCPU, torch::kFloat32); };
  return torch::stack({row(t), row(losses.loss), row(losses.vb)}, 1);
}

void update_times(TimeSampler& times, const torch::Tensor& seen) {
  times.update(seen.select(1, 0).to(torch::kInt64), {seen.select(1, 1), seen.select(1, 2)});
}

}  // namespace tessera
