/// The training objective of a process with an x_0-parameterised reverse: the terms of the variational bound, weighted
/// by whether a cell is MASK, and the auxiliary cross-entropy of x_0. Gu et al., arXiv:2111.14822, section 4.2 and eq.
/// 9 to 11; Austin et al., arXiv:2107.03006, section 3.4.
#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "diffusion/process.h"

namespace tessera {

struct ObjectiveOptions {
  double mask_weight = 1;          // of a cell that is MASK in x_t
  double kept_weight = 1;          // of the others
  double auxiliary_weight = 5e-4;  // of the x_0 term; 0 disables
  bool adaptive = true;            // that weight times 2 - (t - 1) / T: earlier times count more

  /// Throws Error naming the value that is out of range.
  void validate() const;
};

/// Terms in nats; entries by row n are sums over the row's cells, weighted where said.
struct ObjectiveTerms {
  torch::Tensor log_true;         // [N, L, S] log q(x_{t-1} | x_t, x_0)
  torch::Tensor log_model;        // [N, L, S] log p(x_{t-1} | x_t)
  torch::Tensor kl_cells;         // [N, L] divergence of the two, unweighted
  torch::Tensor nll_cells;        // [N, L] -log p(x_{t-1} = x_0 | x_t), unweighted
  torch::Tensor auxiliary_cells;  // [N, L] -log p(x_0), unweighted
  torch::Tensor weights;          // [N, L] mask_weight or kept_weight
  torch::Tensor kl;               // [N] weighted sum
  torch::Tensor nll;              // [N] unweighted sum
  torch::Tensor auxiliary;        // [N] weighted sum
  torch::Tensor bound;            // [N] nll where t = 1, kl elsewhere
  torch::Tensor loss;             // [N] (bound + weight * (nll where t = 1, auxiliary elsewhere)) / p_t
  /// Sum over rows by rows and cells: what is minimised.
  torch::Tensor mean() const { return loss.sum() / static_cast<double>(kl_cells.numel()); }
};

/// The published clamp of log probabilities.
inline constexpr double kLowestLog = -70;

/// log p(x_0) of logits as the published model has it: log-softmax in double, rounded to float, at least -70.
/// In: [N, L, K]. Out: [N, L, K] float32 (float64 for float64).
torch::Tensor log_x0(const torch::Tensor& logits);

/// In: x0, xt [N, L]; log p(x_0) [N, L, K] (of log_x0, with its graph); t [N] in 1..T; p_t [N] the probability with
/// which each t was drawn. Zero probabilities count as 1e-30, and logarithms are held in [-70, 0], as published.
ObjectiveTerms objective(const Process& process, const ObjectiveOptions& options, const torch::Tensor& x0,
                         const torch::Tensor& xt, const torch::Tensor& log_p, const torch::Tensor& t,
                         const torch::Tensor& p_t);

/// What a training step needs of ObjectiveTerms.
struct ObjectiveSums {
  torch::Tensor bound;  // [N] nats
  torch::Tensor loss;   // [N]
  std::int64_t cells = 1;
  /// As ObjectiveTerms::mean.
  torch::Tensor mean() const { return loss.sum() / static_cast<double>(loss.numel() * cells); }
};

/// The bound and the loss from logits [N, L, K], in closed form where the process allows it (even_objective.h), else by
/// `objective`.
ObjectiveSums objective_sums(const Process& process, const ObjectiveOptions& options, const torch::Tensor& x0,
                             const torch::Tensor& xt, const torch::Tensor& logits, const torch::Tensor& t,
                             const torch::Tensor& p_t);

/// The probability of each time in proportion to the running root of the squared bound. In: history [T], entry 0 for
/// t = 1. Out: [T]. sqrt(history + 1e-10) + 1e-4, the first set to the second, normalised.
torch::Tensor importance_of_times(const torch::Tensor& history);

/// Every term of the exact bound of -log p(x_0): entry 0 the divergence of q(x_T | x_0) from the state the reverse
/// starts from (all MASK, or uniform), entries t = 1..T the expectations over x_t of KL(q(x_{t-1} | x_t, x_0) ||
/// p(x_{t-1} | x_t)), here with one given x_t each. In: x0 [N, L], xt [T, N, L], log p(x_0 | x_t) [T, N, L, K].
/// Out: [T + 1, N] float64 nats.
torch::Tensor bound_terms(const Process& process, const torch::Tensor& x0, const torch::Tensor& xt,
                          const torch::Tensor& log_p);

}  // namespace tessera
