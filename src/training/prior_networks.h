/// The networks of a prior in training: the denoiser and, with text, the encoder and the learned null condition that
/// are trained along. A trainer has two of them, the weights being trained and their average.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "checkpoint/bundle.h"
#include "denoiser/denoiser.h"
#include "denoiser/step_decoder.h"
#include "runtime/registry.h"
#include "training/condition_source.h"
#include "training/prior_recipe.h"

namespace tessera {

class PriorNetworks {
 public:
  using Parameters = torch::OrderedDict<std::string, torch::Tensor>;
  virtual ~PriorNetworks() = default;

  /// All that is trained, by the names in a training state; those of the text encoder begin with "text.".
  virtual Parameters parameters() const = 0;
  /// Names in parameters() of the weights [out, in] of products of activations.
  virtual std::vector<std::string> products() const = 0;
  virtual void to(torch::Device device) = 0;
  virtual void train(bool training) = 0;
  virtual void seed_dropout(std::uint64_t bits) = 0;

  /// Differentiable. In: tokens [N, L], times [N] or [1] (read where the network sees them), what each grid is told,
  /// rows [M] flat cells (undefined: all). Out: logits [M, K] or [N, L, K].
  virtual torch::Tensor logits(const torch::Tensor& tokens, const torch::Tensor& times, const ToldRows& told,
                               const torch::Tensor& rows = {}) = 0;
  /// Differentiable: logits [N, L, K] of every cell given those before it. Throws Error where the network is not
  /// autoregressive.
  virtual torch::Tensor logits_in_order(const torch::Tensor& tokens, const ToldRows& told);
  /// Differentiable, of networks that read words and codes in one sequence (denoiser/joint.h): logits [M, V + K] of the
  /// places asked for, flat over the sequences. In: words [N, P] in 0..V, codes [N, L] in 0..K. Throws Error of others.
  virtual torch::Tensor sequence_logits(const torch::Tensor& words, const torch::Tensor& codes,
                                        const torch::Tensor& places);
  /// V of these.
  virtual std::int64_t vocabulary() const { return 0; }
  /// Differentiable: logits [N, L, K] of x_{t-1} [N, L], each cell's given those before it and the look's x_t. Throws
  /// Error where the network goes back in time otherwise.
  virtual torch::Tensor step_logits(const StepLook& look, const torch::Tensor& before, const ToldRows& told);

  /// For samples of the weights as they are.
  virtual std::shared_ptr<Denoiser> denoiser() = 0;
  /// For FillOptions::conditions: of each row.
  virtual std::vector<Condition> conditions(const ToldRows& told) = 0;

  /// Puts transformer/ and what is trained along into a bundle.
  virtual void put_into(Bundle& bundle) const = 0;

  /// Takes the values of tensors with the names of parameters(). Throws Error naming one that is missing or does not
  /// fit.
  void load(const TensorMap& tensors);
  std::int64_t parameter_count() const;
};

/// Of a module's products: `prefix` and the names of their weights.
std::vector<std::string> products_of(torch::nn::Module& module, const std::string& prefix);

struct PriorNetworksInput {
  const PriorRecipe& recipe;
  const TokenData& data;
  const ClipTokenizer* tokenizer = nullptr;  // with text
  const Bundle* start = nullptr;             // whose architecture is taken where the recipe has no word for it
  torch::Device device = torch::kCPU;        // of the training, for "auto" precision
};

/// Networks as the recipe describes them, on the CPU.
struct MadeNetworks {
  std::unique_ptr<PriorNetworks> trained, average;
};

/// What a recipe's field `prior` may name. To add one: a file with its PriorNetworks and its entry, and a line of the
/// table in prior_networks.cpp; an objective where none suits it (objectives.h).
struct TrainedPriorEntry {
  std::string name, help;        // the name of its network (denoiser/networks.h) where no other prior has that
  bool in_order = false;         // it learns each cell given those before it
  bool counts = false;           // it is counted, in one step, not learned by steps
  std::int64_t total_steps = 0;  // T where its network sees the time
  std::vector<std::string> conditions = {"none"};  // of none, text, class
  std::vector<std::string> unused = {};            // fields of the recipe that its networks make nothing of
  bool (*sees_time)(const PriorRecipe& recipe) = [](const PriorRecipe&) { return false; };
  MadeNetworks (*make)(const PriorNetworksInput& input) = nullptr;
};

Registry<TrainedPriorEntry>& trained_priors();

/// Gives a network's parameters the values of a bundle's that have their names and shapes, and says which. Throws Error
/// where none has. In: the parameters by name; where: the bundle's name.
void take_weights(TensorMap& parameters, const BundlePart& given, const std::string& where);

/// The trained ones initialised, then given the weights of `start` where there is one (what fits is taken and said).
MadeNetworks make_prior_networks(const PriorNetworksInput& input);

}  // namespace tessera
