/// A forward noising process over token rows and its reverse: mathematics on tokens and probabilities, no network.
/// Austin et al., "Structured Denoising Diffusion Models in Discrete State-Spaces", arXiv:2107.03006.
///
/// A chain x_0, x_1 .. x_T over the states of a cell: the K codes, and MASK (= K) where the process has it. All of it
/// follows from two functions that a process gives: the likelihood q(x_t | x_s) as a function of x_s, and what becomes
/// of a distribution over codes by time t. Everything is in logarithms; zero probability is -infinity.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <limits>
#include <optional>

#include "runtime/random.h"

namespace tessera {

/// The logarithm of no probability.
inline constexpr double kNever = -std::numeric_limits<double>::infinity();

/// Tokens after t forward steps.
struct Noised {
  torch::Tensor tokens;   // [N, L] int64
  torch::Tensor changed;  // [N, L] bool: the cells that the process has taken (absorbing: MASK)
};

/// A step in which all codes fare alike: one stays what it is, becomes any code alike, or becomes MASK, which stays
/// MASK. q(x_t = j | x_s = i) = alpha [i = j] + beta for codes i, j; gamma for j = MASK; alpha + K beta + gamma = 1.
struct EvenStep {
  double alpha, beta, gamma;
};

class Process {
 public:
  virtual ~Process() = default;
  virtual std::int64_t codebook_size() const = 0;  // K
  virtual std::int64_t total_steps() const = 0;    // T
  /// MASK is a state of the chain, and its only one at time T.
  virtual bool has_mask() const { return true; }
  /// S: K, or K + 1 with MASK as the last.
  std::int64_t states() const { return codebook_size() + (has_mask() ? 1 : 0); }

  /// log q(x_t | x_s = j) for every j. In: xt [N, L], s and t [N] with 0 <= s <= t <= T. Out: [N, L, S] float64.
  virtual torch::Tensor log_likelihood(const torch::Tensor& xt, const torch::Tensor& s,
                                       const torch::Tensor& t) const = 0;
  /// log q(x_t = j | x_s) for every j. In: xs [N, L]. Out: [N, L, S] float64.
  virtual torch::Tensor log_transition(const torch::Tensor& xs, const torch::Tensor& s,
                                       const torch::Tensor& t) const = 0;
  /// log of the sum over x_0 of p(x_0) q(x_t = j | x_0). In: log p [N, L, K], not necessarily normalised.
  /// Out: [N, L, S] in log p's dtype. Differentiable.
  virtual torch::Tensor log_spread(const torch::Tensor& log_p, const torch::Tensor& t) const = 0;

  /// The step from time s to t where all codes fare alike in it, else nothing: what has it needs no [N, L, S] tensors
  /// in training (even_objective.h).
  virtual std::optional<EvenStep> even_step(std::int64_t /*s*/, std::int64_t /*t*/) const { return std::nullopt; }
  /// All that happens to a code is that it becomes MASK (absorbing diffusion): a cell that is no MASK is known.
  bool only_masks() const {
    const auto all = even_step(0, total_steps());
    return has_mask() && all && all->beta == 0;
  }

  /// log q(x_t | x_0) of every state. In: x0 [N, L]. Out: [N, L, S] float64.
  torch::Tensor log_marginal(const torch::Tensor& x0, const torch::Tensor& t) const;
  /// log q(x_s | x_t, x_0), s < t. Out: [N, L, S] float64, normalised.
  torch::Tensor log_posterior(const torch::Tensor& xt, const torch::Tensor& x0, const torch::Tensor& s,
                              const torch::Tensor& t) const;
  /// The reverse step by x_0-parameterisation over any stride: log of the sum over x_0 of q(x_s | x_t, x_0) p(x_0),
  /// where an x_0 from which x_t cannot come counts for nothing. In: log p [N, L, K]; its sum is the result's (but for
  /// those). Out: [N, L, S] in log p's dtype. Differentiable in log p.
  torch::Tensor log_reverse(const torch::Tensor& xt, const torch::Tensor& log_p, const torch::Tensor& s,
                            const torch::Tensor& t) const;

  /// Draws xt of q(xt | x0). In: x0 [N, L] int64, t [N] int64 in 0..T, uniforms [N, L] in (0, 1).
  virtual Noised q_sample(const torch::Tensor& x0, const torch::Tensor& t, const torch::Tensor& uniforms) const;
  /// p(x_{t-1} | xt) = sum over x0 of q(x_{t-1} | xt, x0) p(x0 | xt). In: xt [N, L], p(x0) [N, L, K], t [N] in 1..T.
  /// Out: [N, L, K+1], the last entry MASK.
  virtual torch::Tensor posterior(const torch::Tensor& xt, const torch::Tensor& x0_probabilities,
                                  const torch::Tensor& t) const;
};

/// One state of every row by inverse distribution function. In: log p [.., S], not necessarily normalised; uniforms
/// [..] in (0, 1). Out: [..] int64.
torch::Tensor draw_states(const torch::Tensor& log_p, const torch::Tensor& uniforms);

/// Counter-based uniforms, [count, cells] float64: row r is (seed, purpose, image = first_row + r, step), by cell.
torch::Tensor uniform_rows(Seed seed, Purpose purpose, std::uint64_t first_row, std::uint32_t step, std::int64_t count,
                           std::int64_t cells);

}  // namespace tessera
