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

/// The trained ones initialised, then given the weights of `start` where there is one (what fits is taken and said).
MadeNetworks make_prior_networks(const PriorNetworksInput& input);

}  // namespace tessera
