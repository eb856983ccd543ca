/// What a prior's network is told, in training: a text encoder with the learned null condition, trained along, or class
/// labels. Tang et al., arXiv:2205.16007, section 3.1.
#pragma once

#include <torch/torch.h>

#include <string>
#include <vector>

#include "text/clip_text_encoder.h"
#include "training/prior_networks.h"

namespace tessera {

class PriorConditioner {
 public:
  explicit PriorConditioner(const PriorNetworksInput& input);

  void initialise(Seed seed);
  /// Takes text encoder and null condition of a bundle that has them, as far as they fit.
  void begin_from(const Bundle& start, const std::string& where);
  /// "text....", "null_embedding"; nothing without text.
  void add_parameters(PriorNetworks::Parameters& all) const;
  /// The names of the text encoder's products among those.
  void add_products(std::vector<std::string>& names) const;
  void to(torch::Device device);
  void put_into(Bundle& bundle) const;

  /// Differentiable. Rows that are told nothing have the null condition.
  ConditionBatch batch_of(const ToldRows& told);
  /// For FillOptions::conditions; empty where the network is told nothing.
  std::vector<Condition> conditions(const ToldRows& told);

 private:
  bool has_text() const { return !text_.is_empty(); }

  bool has_classes_;
  ClipTextEncoder text_{nullptr};
  torch::Tensor null_embedding_;  // [P, C]
};

}  // namespace tessera
