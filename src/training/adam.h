/// Adam (arXiv:1412.6980) with decoupled weight decay (arXiv:1711.05101), gradient clipping and an exponential moving
/// average of the weights; all of its state can be saved, so that a resumed run continues bit-exactly.
#pragma once

#include <torch/torch.h>

#include <memory>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"
#include "distributed/ranks.h"

namespace tessera {

struct AdamOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;   // decoupled; 0 disables
  double clip_norm = 0;      // largest global gradient norm; 0 disables
  double ema_decay = 0.999;  // of the averaged weights; 0 keeps no average
  bool ema_warmup = true;    // the average starts short: see average_decay
};

/// Decay of the averaged weights after `updates` updates (the first is 1): min(decay, (1 + u) / (10 + u)), so that the
/// average spans about the last tenth of what has been trained until it has reached its full length (the rule of
/// TensorFlow's ExponentialMovingAverage with num_updates). Without it a short run's average is mostly its start.
double average_decay(double decay, bool warmup, std::int64_t updates);

class Adam {
 public:
  /// Takes the parameters by name; their average starts at their present values. sharded_over: ranks of which each
  /// keeps moments and averages of a part of the parameters alone, updates those and gives them to the others (ZeRO-1,
  /// arXiv:1910.02054); none: all are kept here.
  Adam(const torch::OrderedDict<std::string, torch::Tensor>& parameters, AdamOptions options,
       std::shared_ptr<const Ranks> sharded_over = nullptr);

  std::vector<torch::Tensor> parameters() const;
  /// The rank that updates each of them; empty: every rank updates all.
  const std::vector<int>& owners() const { return owners_; }

  /// One update from the parameters' gradients, which are cleared. Returns the global gradient norm before clipping.
  /// Throws Error where that is not finite, before any weight changes. Sharded, it is called by all ranks, and takes
  /// the gradients of this rank's parameters.
  double step(double learning_rate);

  /// What a training does with the loss of a whole batch (of several shards: training/batch_shards.h): back-propagates
  /// it and updates by its gradients. Out: as step. Throws Error, beginning with `what` and naming the step, before any
  /// weight changes where the loss is not finite.
  double minimise(const torch::Tensor& loss, double learning_rate, const std::string& what, std::int64_t step);

  /// Sharded, to be called by all ranks before `averaged`, and before `save` on rank 0: all have the averaged weights,
  /// and rank 0 the whole state, until the next step.
  void gather();
  /// The averaged weights by name (the plain ones where no average is kept).
  TensorMap averaged() const;
  /// The weights as they are, by name.
  TensorMap plain() const;
  bool has_average() const { return options_.ema_decay > 0; }
  /// Moments, averages and the count of updates, under `prefix`; and back (every entry required).
  void save(const std::string& prefix, TensorMap& into) const;
  void load(const std::string& prefix, const TensorMap& from);

 private:
  struct Slot {
    std::string name;
    torch::Tensor parameter, first, second, average;  // moments and average of another rank's: none between steps
  };
  void share_out();
  bool is_own(std::size_t slot) const { return owners_.empty() || owners_[slot] == sharded_over_->rank(); }
  double gradient_norm() const;
  double gradient_norm_of_all() const;
  void drop_others();
  /// Gives the other ranks the parameters that this one has updated, and takes theirs.
  void give_weights();
  /// On the CPU in float32.
  void update(Slot& slot, double learning_rate, double gradient_scale);
  /// Of any device and type, and parameters without a gradient, whose averages go on: all in a few operations, since on
  /// a GPU each would be a launch for each parameter.
  void update(const std::vector<Slot*>& slots, double learning_rate, double gradient_scale);
  /// Kept forms of the weights are out of date.
  static void note_written(Slot& slot);
  /// What the average moves towards the weights in this update.
  double average_share() const { return 1 - average_decay(options_.ema_decay, options_.ema_warmup, updates_); }

  AdamOptions options_;
  std::int64_t updates_ = 0;
  std::vector<Slot> slots_;
  std::shared_ptr<const Ranks> sharded_over_;
  std::vector<int> owners_;
  bool gathered_ = true;  // since the last step, the same on all ranks
};

/// Linear warm-up over `warmup` steps to `base`, then constant, or a cosine fall to `base * final_fraction` at `total`.
double learning_rate_at(std::int64_t step, double base, std::int64_t warmup, std::int64_t total, double final_fraction);

}  // namespace tessera
