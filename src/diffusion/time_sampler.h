/// Which time steps a training batch sees: uniform, or in proportion to the size of the bound's term (importance), and
/// the running history of the loss by time step. Nichol and Dhariwal, "Improved DDPM", section 3.3; Bond-Taylor et al.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>

#include "diffusion/absorbing.h"
#include "runtime/random.h"

namespace tessera {

enum class TimeSampling { uniform, importance };

/// "uniform" | "importance". Throws Error listing the choices.
TimeSampling time_sampling_from(const std::string& name);
std::string name_of(TimeSampling sampling);

struct SampledTimes {
  torch::Tensor t;    // [N] int64 in 1..T
  torch::Tensor p_t;  // [N] float32: the probability with which each t was drawn
};

/// Buffers indexed by t = 0..T (entry 0 unused), CPU float32. They are training state: save and restore them as they
/// are.
struct TimeSampler {
  explicit TimeSampler(std::int64_t total_steps);

  /// Row r of the batch is (seed, training_times, image = first_row + r, step). Importance falls back to uniform until
  /// every time step has been seen more than ten times.
  SampledTimes sample(TimeSampling sampling, std::int64_t count, Seed seed, std::uint64_t first_row,
                      std::uint32_t step) const;
  /// Exponential averages (rate 0.1) of the loss and of the squared bound at the batch's times; of rows with the same t
  /// the last counts, as in the original. In: t [N], losses of training_loss (detached here).
  void update(const torch::Tensor& t, const TrainingLoss& losses);
  /// Every time step has been seen more than ten times.
  bool warmed_up() const;
  /// [T+1]: sqrt(squared_bound + 1e-10) + 1e-4, entry 0 set to entry 1, normalised. The original draws from this;
  /// sample() leaves out the meaningless t = 0 and divides by the rest.
  torch::Tensor importance_probabilities() const;

  std::int64_t total_steps;     // T
  torch::Tensor loss_history;   // [T+1] running mean of the training loss: the curve by time step
  torch::Tensor bound_history;  // [T+1] running mean of the squared bound (the original's Lt_history)
  torch::Tensor bound_count;    // [T+1] rows seen (Lt_count)
};

}  // namespace tessera
