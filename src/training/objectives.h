/// What priors learn by. To add an objective: a file in training/objectives/ and a line of the table in
/// objectives.cpp.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"
#include "metrics/prior_likelihood.h"
#include "runtime/registry.h"
#include "training/prior_networks.h"
#include "training/recorder.h"

namespace tessera {

/// What a validation measures of some grids, which ranks may share out.
struct GridNats {
  torch::Tensor nats;        // [N] float64, an estimate of each
  torch::Tensor share_sums;  // as BoundEstimate::share_sums; undefined: not measured
};

/// What a validation says of all of them.
struct GridLikelihood {
  double bits_per_token = 0;
  double standard_error = 0;          // over grids
  std::vector<double> bits_by_share;  // cross-entropy a masked cell by share of cells masked; empty: not measured
};

/// In: of grids of `cells` tokens.
GridLikelihood likelihood_of(const GridNats& measured, std::int64_t cells);

/// How a validation estimates a bound: draws of its own, which are the same at every validation.
BoundOptions validation_bound(const PriorRecipe& recipe);

/// Some rows of a step's batch: the batch itself, or a shard of it.
struct BatchRows {
  std::int64_t step = 0;
  std::int64_t first = 0;  // the first one's place in the batch
};

/// -log p of each grid [N] float64 by networks that give the logits of every cell in order, so many grids at a time.
/// Without gradients.
torch::Tensor nats_in_order(PriorNetworks& networks, const torch::Tensor& x0, const ToldRows& told, std::int64_t batch);

class PriorObjective {
 public:
  virtual ~PriorObjective() = default;

  struct Loss {
    torch::Tensor value;  // what is minimised, with its graph
    torch::Tensor seen;   // [N, M] float32 on the CPU, for after_step; undefined: nothing
  };
  /// And figures of it. In: x0 [N, L] int64 on the CPU and what each is told. The same whatever rows of the batch are
  /// asked for together, but for rounding.
  virtual Loss loss(PriorNetworks& networks, const torch::Tensor& x0, const ToldRows& told, const BatchRows& rows,
                    Metrics& metrics) = 0;
  /// What the objective remembers of a step. In: Loss::seen of the whole batch, in order.
  virtual void after_step(const torch::Tensor& /*seen*/) {}
  /// Without gradients. In: as loss, any number of grids; first: number of the first one among all that are measured.
  virtual GridNats measure(PriorNetworks& networks, const torch::Tensor& x0, const ToldRows& told,
                           std::int64_t first) const = 0;

  /// T; of an order instead of a process: the cells.
  virtual std::int64_t total_steps() const = 0;
  /// For FillOptions::process; none where the network sees no time.
  virtual std::shared_ptr<const Process> process() const { return nullptr; }
  /// The content of scheduler/config.json.
  virtual nlohmann::json scheduler() const = 0;
  /// The loss by time step so far [T]; empty: it has none.
  virtual std::vector<double> loss_by_time() const { return {}; }

  virtual void save_state(TensorMap& /*into*/) const {}
  virtual void load_state(const TensorMap& /*from*/) {}
};

struct ObjectiveInput {
  const PriorRecipe& recipe;
  const TokenData& data;
};

struct ObjectiveEntry {
  std::string name, help;
  /// Whether a recipe's prior learns by it; the first that does is taken.
  bool (*suits)(const PriorRecipe& recipe) = nullptr;
  /// What messages call a training by it.
  std::string (*called)(const PriorRecipe& recipe) = nullptr;
  /// Fields that not every training makes something of, and that this one does.
  std::vector<std::string> (*fields)(const PriorRecipe& recipe) = nullptr;
  std::unique_ptr<PriorObjective> (*make)(const ObjectiveInput& input) = nullptr;
};

/// The fields of a recipe's condition, which every objective of a prior with it takes.
std::vector<std::string> condition_fields(const PriorRecipe& recipe);

Registry<ObjectiveEntry>& objectives();

/// Throws UsageError where no objective suits.
const ObjectiveEntry& objective_of(const PriorRecipe& recipe);

}  // namespace tessera
