/// Chains over codes alone whose steps know which codes are neighbours: D3PM's discretised Gaussian (codes in an order,
/// as grey levels) and nearest-embedding (codes near in codebook space). Austin et al., arXiv:2107.03006, appendices
/// A.2.3 and A.2.4. Every step's matrix is symmetric, so both end in the uniform distribution.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "diffusion/process.h"

namespace tessera {

/// What the structured chains share: steps as symmetric matrices, applied in probability space in double. All terms are
/// non-negative, so small probabilities keep their relative precision.
class StructuredProcess : public Process {
 public:
  std::int64_t codebook_size() const override { return codes_; }
  std::int64_t total_steps() const override { return steps_; }
  bool has_mask() const override { return false; }

  torch::Tensor log_likelihood(const torch::Tensor& xt, const torch::Tensor& s, const torch::Tensor& t) const override;
  torch::Tensor log_transition(const torch::Tensor& xs, const torch::Tensor& s, const torch::Tensor& t) const override;
  torch::Tensor log_spread(const torch::Tensor& log_p, const torch::Tensor& t) const override;

  /// Q of the steps s+1..t, [K, K] float64. Computed from the stored form; the few last ones are kept.
  torch::Tensor matrix(std::int64_t s, std::int64_t t) const;

 protected:
  StructuredProcess(std::int64_t codebook_size, std::int64_t total_steps);
  /// rows [M, K] float64 times Q of the steps s+1..t. Out: [M, K].
  virtual torch::Tensor apply(const torch::Tensor& rows, std::int64_t s, std::int64_t t) const = 0;

 private:
  torch::Tensor log_rows(const torch::Tensor& tokens, const torch::Tensor& s, const torch::Tensor& t,
                         bool transposed) const;

  std::int64_t codes_, steps_;
  mutable std::mutex mutex_;
  mutable std::map<std::pair<std::int64_t, std::int64_t>, torch::Tensor> kept_;
};

/// Off the diagonal Q_t[i, j] = exp(-4 |i - j|^2 / ((K - 1)^2 beta_t)) / Z_t, Z_t the sum over all distances
/// -(K - 1)..K - 1; the diagonal takes the rest. Stored as one profile over the distance a step; distances whose
/// entry is below 1e-30 count as zero.
class GaussianProcess : public StructuredProcess {
 public:
  /// beta_t is linear from beta_first to beta_last over t = 1..T; 0: 1e-4 and 0.02 for T = 1000 as in the paper, in
  /// proportion to 1000 / T for others.
  GaussianProcess(std::int64_t codebook_size, std::int64_t total_steps, double beta_first = 0, double beta_last = 0);
  /// Widest distance of step t that is stored.
  std::int64_t band(std::int64_t t) const;

 protected:
  torch::Tensor apply(const torch::Tensor& rows, std::int64_t s, std::int64_t t) const override;

 private:
  struct Profile {
    std::vector<double> by_distance;  // [band + 1], entry 0 unused
    std::vector<double> diagonal;     // [K]
  };
  std::vector<Profile> profiles_;  // [T]
};

/// Q_t = exp((a_t - a_{t-1}) R), R the rates between codes that are among each other's k nearest in the codebook:
/// R = (G + G^T) / 2k off the diagonal, rows summing to zero. R is stored sparsely; the exponential is summed over the
/// steps of a Poisson number of jumps (uniformisation), all terms positive.
class NearestEmbeddingProcess : public StructuredProcess {
 public:
  /// In: codebook [K, D]. total_rate a_T: 0 chooses one that comes within 1e-3 of uniform. a_t = a_T (t / T)^2.
  /// Throws Error where the neighbours do not connect all codes (then no rate comes to uniform).
  NearestEmbeddingProcess(const torch::Tensor& codebook, std::int64_t total_steps, std::int64_t neighbours = 8,
                          double total_rate = 0);
  double total_rate() const { return total_rate_; }
  /// Pairs of different codes with a rate between them, both ways counted.
  std::int64_t stored_rates() const { return static_cast<std::int64_t>(columns_.size()); }

 protected:
  torch::Tensor apply(const torch::Tensor& rows, std::int64_t s, std::int64_t t) const override;

 private:
  torch::Tensor exponential(const torch::Tensor& rows, double rate) const;
  double accumulated(std::int64_t t) const;

  std::vector<std::int64_t> starts_, columns_;  // compressed rows: [K + 1], [stored]
  std::vector<double> rates_;                   // [stored]
  std::vector<double> leaving_;                 // [K] sum of a row's rates
  double fastest_ = 0;                          // largest of them
  double total_rate_ = 0;
};

}  // namespace tessera
