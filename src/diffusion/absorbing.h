/// Absorbing-state diffusion: each cell turns into MASK once and stays so. Forward process, posterior, training losses.
/// Bond-Taylor et al., "Unleashing Transformers", ECCV 2022, section 3.2; arXiv:2107.03006, appendix A.2.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>

#include "diffusion/process.h"

namespace tessera {

enum class MaskSchedule {
  random,  // every cell is masked independently with probability t / T
  fixed,   // exactly max(1, round(t / T * L)) random cells are masked (halves to even; t / T in float32)
};
enum class LossKind {
  reweighted_elbo,  // mean of (1 - t/T) * CE / (ln 2 * L)
  elbo,             // mean of CE / (t * p_t) / (ln 2 * L): the variational bound, bits per token
  mlm,              // mean of CE / number of masked cells, nats per masked cell
};

/// From the names in recipes: "random" | "fixed". Throws Error listing the choices.
MaskSchedule mask_schedule_from(const std::string& name);
std::string name_of(MaskSchedule schedule);
/// From the names in recipes: "reweighted_elbo" | "elbo" | "mlm". Throws Error listing the choices.
LossKind loss_kind_from(const std::string& name);
std::string name_of(LossKind kind);

class AbsorbingProcess : public Process {
 public:
  /// total_steps T >= 1.
  AbsorbingProcess(std::int64_t codebook_size, std::int64_t total_steps, MaskSchedule schedule = MaskSchedule::random);

  std::int64_t codebook_size() const override { return codebook_size_; }
  std::int64_t total_steps() const override { return total_steps_; }
  std::int64_t mask_token() const { return codebook_size_; }

  // With independent masks (schedule `random`), as the chain of diffusion/mask_replace.h.
  torch::Tensor log_likelihood(const torch::Tensor& xt, const torch::Tensor& s, const torch::Tensor& t) const override;
  torch::Tensor log_transition(const torch::Tensor& xs, const torch::Tensor& s, const torch::Tensor& t) const override;
  torch::Tensor log_spread(const torch::Tensor& log_p, const torch::Tensor& t) const override;
  std::optional<EvenStep> even_step(std::int64_t s, std::int64_t t) const override;

  MaskSchedule schedule() const { return schedule_; }

  /// random: masked where uniform < t / T. fixed: the cells with the smallest uniforms.
  Noised q_sample(const torch::Tensor& x0, const torch::Tensor& t, const torch::Tensor& uniforms) const override;
  /// The same with counter-based draws: row r of the batch is (seed, training_masks, first_row + r, step).
  Noised q_sample(const torch::Tensor& x0, const torch::Tensor& t, Seed seed, std::uint64_t first_row,
                  std::uint32_t step) const;
  /// A masked cell is revealed with probability 1/t, a known one stays. See Process.
  torch::Tensor posterior(const torch::Tensor& xt, const torch::Tensor& x0_probabilities,
                          const torch::Tensor& t) const override;
  /// The reverse step's choice: a masked cell is revealed where uniform < 1/t (t = 1 reveals every one).
  /// In: xt [N, L], uniforms [N, L], t [N] in 1..T or of a sampler with fewer steps. Out: [N, L] bool.
  torch::Tensor revealed(const torch::Tensor& xt, const torch::Tensor& uniforms, const torch::Tensor& t) const;
  /// Cells that the schedule `fixed` masks at step t of rows of `cells` cells.
  std::int64_t fixed_count(std::int64_t t, std::int64_t cells) const;

 private:
  std::int64_t codebook_size_;
  std::int64_t total_steps_;
  MaskSchedule schedule_;
};

/// Cross-entropy of the masked cells, per row. In: logits [N, L, K], x0 [N, L], masked [N, L] bool. Out: [N] nats.
torch::Tensor masked_cross_entropy(const torch::Tensor& logits, const torch::Tensor& x0, const torch::Tensor& masked);

/// The same from the logits of the masked cells only (half the work of the head in training).
/// In: logits [M, K] of the flat cells rows [M] (= n * L + l, ascending), x0 [N, L]. Out: [N] nats.
torch::Tensor masked_cross_entropy_at(const torch::Tensor& logits, const torch::Tensor& x0, const torch::Tensor& rows);

/// The flat indices [M] int64 of the cells that are set, ascending. In: cells [N, L] bool.
torch::Tensor rows_of(const torch::Tensor& cells);

struct TrainingLoss {
  torch::Tensor loss;  // [N]: of the kind asked for; its mean is the training loss
  torch::Tensor vb;    // [N]: the variational bound's sample, bits per token
  torch::Tensor mean() const { return loss.mean(); }
};

/// In: cross_entropy [N] nats, masked [N, L] bool, t [N] in 1..T, p_t [N] the probability that the time sampler gave t.
TrainingLoss training_loss(LossKind kind, const torch::Tensor& cross_entropy, const torch::Tensor& masked,
                           const torch::Tensor& t, const torch::Tensor& p_t, std::int64_t total_steps);

}  // namespace tessera
