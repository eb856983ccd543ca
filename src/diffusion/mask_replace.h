/// Chains in which a code stays, is replaced by any code alike, or becomes MASK, which stays MASK: with replacement
/// alone the uniform process (Hoogeboom et al., "Argmax Flows and Multinomial Diffusion", arXiv:2102.05379), with both
/// the mask-and-replace process of VQ-Diffusion (Gu et al., arXiv:2111.14822, section 4.1, eq. 8).
///
/// q(x_t = j | x_s = i) = alpha [i = j] + beta for codes i, j; gamma for j = MASK; alpha + K beta + gamma = 1.
/// Such steps compose to a step of the same kind: alpha and 1 - gamma multiply.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "diffusion/process.h"

namespace tessera {

/// The ends of the linear schedules of the mask-and-replace process.
struct MaskReplaceSchedule {
  double alpha_start = 0.99999, alpha_end = 9e-6;  // cumulative probability to be kept, at t = 1 and t = T
  double gamma_start = 9e-6, gamma_end = 0.99999;  // cumulative probability to be MASK
};

class MaskReplaceProcess : public Process {
 public:
  /// VQ-Diffusion's schedule: the cumulative alpha and gamma are linear in t = 1..T. Computed in double.
  MaskReplaceProcess(std::int64_t codebook_size, std::int64_t total_steps, const MaskReplaceSchedule& schedule = {});
  /// No MASK; the probability to be kept falls as cos^2 (arXiv:2102.05379, section 5; offset 0.008 of
  /// arXiv:2102.09672, eq. 17) to 0 at T.
  static MaskReplaceProcess uniform(std::int64_t codebook_size, std::int64_t total_steps);
  /// No MASK; kept: the probabilities to be kept by t = 0 (1), 1 .. T, falling.
  static MaskReplaceProcess uniform(std::int64_t codebook_size, const std::vector<double>& kept);
  /// MASK alone, with probability t / T: the absorbing process in this form.
  static MaskReplaceProcess absorbing(std::int64_t codebook_size, std::int64_t total_steps);

  std::int64_t codebook_size() const override { return codes_; }
  std::int64_t total_steps() const override { return static_cast<std::int64_t>(kept_.size()) - 1; }
  bool has_mask() const override { return has_mask_; }

  torch::Tensor log_likelihood(const torch::Tensor& xt, const torch::Tensor& s, const torch::Tensor& t) const override;
  torch::Tensor log_transition(const torch::Tensor& xs, const torch::Tensor& s, const torch::Tensor& t) const override;
  torch::Tensor log_spread(const torch::Tensor& log_p, const torch::Tensor& t) const override;

  /// The released programs count log 1e-30 for the impossible step from MASK to a code, also within larger sums. With
  /// this set, log_likelihood does the same (their numbers to the last bit of a float); probabilities differ by 1e-30.
  void set_impossible(double log_probability) { impossible_ = log_probability; }

  /// The probabilities of going from time s to t.
  using Step = EvenStep;
  Step step(std::int64_t s, std::int64_t t) const;
  /// Nothing where an impossible step counts for something (set_impossible).
  std::optional<EvenStep> even_step(std::int64_t s, std::int64_t t) const override;
  /// The inverse distribution function in closed form: the draw of draw_states without the states' probabilities.
  Noised q_sample(const torch::Tensor& x0, const torch::Tensor& t, const torch::Tensor& uniforms) const override;

 private:
  MaskReplaceProcess(std::int64_t codebook_size, bool has_mask, std::vector<double> kept, std::vector<double> masked);
  /// log of alpha, alpha + beta, beta and gamma of each row, each [N, 1] in `options`.
  struct Logs {
    torch::Tensor alpha, same, beta, gamma;
  };
  Logs logs(const torch::Tensor& s, const torch::Tensor& t, const torch::TensorOptions& options) const;

  std::int64_t codes_;
  bool has_mask_;
  std::vector<double> kept_;    // [T+1] cumulative alpha, 1 at time 0
  std::vector<double> masked_;  // [T+1] cumulative gamma, 0 at time 0
  double impossible_;
};

}  // namespace tessera
