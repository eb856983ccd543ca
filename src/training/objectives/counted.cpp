/// Nothing to learn: the frequencies of codes are counted before the only step, which measures them.
#include <nlohmann/json.hpp>
#include <numbers>

#include "training/objectives.h"

namespace tessera {
namespace {

class CountedObjective : public PriorObjective {
 public:
  explicit CountedObjective(const ObjectiveInput& input)
      : batch_(input.recipe.batch_size), cells_(input.data.train.size(1) * input.data.train.size(2)) {}

  Loss loss(PriorNetworks& networks, const torch::Tensor& x0, const ToldRows& told, const BatchRows&,
            Metrics&) override {
    const auto nats =
        nats_in_order(networks, x0, told, batch_).mean() / (std::numbers::ln2 * static_cast<double>(cells_));
    return {nats + torch::zeros({}, torch::requires_grad()), {}};  // a graph, without a parameter in it
  }

  GridNats measure(PriorNetworks& networks, const torch::Tensor& x0, const ToldRows& told,
                   std::int64_t) const override {
    return {nats_in_order(networks, x0, told, batch_), {}};
  }

  std::int64_t total_steps() const override { return cells_; }
  nlohmann::json scheduler() const override { return process_config(default_process().name, 0, cells_); }

 private:
  std::int64_t batch_, cells_;
};

}  // namespace

ObjectiveEntry counted_objective() {
  return {"counted",
          "how often each code is",
          [](const PriorRecipe& recipe) { return trained_priors().at(recipe.prior).counts; },
          [](const PriorRecipe& recipe) { return "the " + recipe.prior + " prior"; },
          [](const PriorRecipe&) -> std::vector<std::string> {
            return {"prior", "frequencies"};
          },
          [](const ObjectiveInput& input) -> std::unique_ptr<PriorObjective> {
            return std::make_unique<CountedObjective>(input);
          }};
}

}  // namespace tessera
