/// Code probabilities that depend on the cell at most: the uniform prior over codes, and the empirical one (how often
/// each code is in the training grids). What every system is measured against first.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <nlohmann/json.hpp>

#include "checkpoint/named_module.h"
#include "denoiser/independent.h"
#include "tokens/token_grid.h"

namespace tessera {

struct CodeFrequenciesOptions {
  std::int64_t codebook_size = 1024;  // K
  Extent grid{16, 16};
  bool by_cell = false;  // each cell has probabilities of its own

  std::int64_t rows() const { return by_cell ? grid.cells() : 1; }
  /// Throws Error naming the value that is out of range.
  void validate() const;
  nlohmann::json to_config() const;
  static CodeFrequenciesOptions from_config(const nlohmann::json& config);
};

/// log of (counts + smoothing) / their sum, [1 or L, K] float64. In: tokens [N, L] int64 in 0..K-1. Throws Error where
/// a smoothing of 0 leaves nothing.
torch::Tensor log_frequencies(const torch::Tensor& tokens, const CodeFrequenciesOptions& options, double smoothing);

/// Parameter: log_probabilities [1 or L, K] (float32; minus infinity stands as the lowest float).
class CodeFrequenciesImpl : public NamedModule, public IndependentDenoiser {
 public:
  explicit CodeFrequenciesImpl(const CodeFrequenciesOptions& options);

  std::unique_ptr<Evaluator> begin(const std::vector<Condition>& conditions = {}) override;
  torch::Tensor log_probabilities() const override;

  const CodeFrequenciesOptions& options() const { return options_; }
  std::int64_t codebook_size() const override { return options_.codebook_size; }
  torch::Device device() const override { return logits_.device(); }
  std::int64_t parameter_count() const override { return NamedModule::parameter_count(); }

 private:
  CodeFrequenciesOptions options_;
  torch::Tensor logits_;
};
TORCH_MODULE(CodeFrequencies);

}  // namespace tessera
