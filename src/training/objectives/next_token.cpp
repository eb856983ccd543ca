/// The next cell in raster order: the autoregressive baseline of arXiv:2111.12701, section 4.4.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <numbers>

#include "training/objectives.h"

namespace tessera {
namespace {

class NextTokenObjective : public PriorObjective {
 public:
  explicit NextTokenObjective(const ObjectiveInput& input)
      : batch_(input.recipe.batch_size), cells_(input.data.train.size(1) * input.data.train.size(2)) {}

  Loss loss(PriorNetworks& networks, const torch::Tensor& x0, const ToldRows& told, const BatchRows&,
            Metrics&) override {
    const auto logits = networks.logits_in_order(x0, told).to(torch::kFloat32);
    return {torch::nn::functional::cross_entropy(logits.flatten(0, 1), x0.flatten().to(logits.device())) /
                std::numbers::ln2,
            {}};
  }

  GridNats measure(PriorNetworks& networks, const torch::Tensor& x0, const ToldRows& told,
                   std::int64_t) const override {
    return {nats_in_order(networks, x0, told, batch_), {}};
  }

  std::int64_t total_steps() const override { return cells_; }
  nlohmann::json scheduler() const override {
    return {{"_class_name", ProcessEntry().class_name},
            {"tessera", {{"format", 1}, {"process", kAutoregressive}, {"total_steps", cells_}}}};
  }

 private:
  std::int64_t batch_, cells_;
};

std::string called_in_order(const PriorRecipe& recipe) {
  return recipe.condition == "none" ? fmt::format("the {} prior", recipe.prior)
                                    : fmt::format("the {} prior with condition {}", recipe.prior, recipe.condition);
}

std::vector<std::string> fields_of_next_token(const PriorRecipe& recipe) {
  std::vector<std::string> fields = {"prior", "initialisation"};
  for (const auto& name : condition_fields(recipe)) fields.push_back(name);
  return fields;
}

}  // namespace

ObjectiveEntry next_token_objective() {
  return {"next-token",
          "the code of each cell given those before it",
          [](const PriorRecipe& recipe) { return recipe.is_autoregressive(); },
          called_in_order,
          fields_of_next_token,
          [](const ObjectiveInput& input) -> std::unique_ptr<PriorObjective> {
            return std::make_unique<NextTokenObjective>(input);
          }};
}

}  // namespace tessera
