/// Keeping a codebook alive: k-means start and re-seeding of codes that nothing uses.
#pragma once

#include <torch/torch.h>

#include "codec/quantizer.h"

namespace tessera {

/// Lloyd's k-means with k centres, started at rows drawn without replacement; an empty cluster takes the row that lies
/// farthest from its centre. In: rows [M, D]. Out: [k, D]. With M < k rows repeat with a little noise.
torch::Tensor kmeans(const torch::Tensor& rows, std::int64_t k, Seed seed, int iterations);

class CodebookCare {
 public:
  /// reseed_every: steps between re-seedings, 0 never. The last fifth of the steps is left in peace.
  CodebookCare(std::int64_t codebook_size, std::int64_t reseed_every, std::int64_t total_steps, Seed seed);
  void new_total(std::int64_t total_steps) { total_steps_ = total_steps; }
  /// Counts the codes of a step; when due, codes unused since the last time get random latents of this batch.
  void after_step(std::int64_t step, const torch::Tensor& indices, QuantizerImpl& quantizer,
                  const torch::Tensor& latents);
  /// Whether after_step reads the latents at this step.
  bool reseeds(std::int64_t step) const {
    return reseed_every_ > 0 && (step + 1) % reseed_every_ == 0 && (step + 1) * 5 < total_steps_ * 4;
  }
  /// Codes used within the last full window of steps; before its end, since the beginning.
  std::int64_t codes_in_use() const;
  torch::Tensor state() const;
  void restore(const torch::Tensor& state);

 private:
  std::int64_t codebook_size_, reseed_every_, total_steps_;
  Seed seed_;
  torch::Tensor counts_;      // [K] int64, since the last re-seeding
  std::int64_t in_use_ = -1;  // of the last full window; below zero: there was none yet
};

}  // namespace tessera
