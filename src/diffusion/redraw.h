/// The multinomial chain of ImageBART: at step t each cell is replaced by any code alike (perhaps its own) with
/// probability beta_t, in few steps. Esser et al., arXiv:2108.08827, section 3.1; what each step forward loses is what
/// a transformer of its own learns to bring back. The process is MaskReplaceProcess::uniform of these probabilities.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <vector>

namespace tessera {

/// Its name in processes(); `tessera.kept` of its configuration holds the probabilities of kept_by.
inline constexpr const char* kRedrawProcess = "uniform";

/// beta_0 = 0, beta_1 .. beta_T of a schedule as ImageBART's configurations name it: "geometric" (beta_t = 1 / (T - t +
/// 1): nothing is left at T), "alphacum:a_0,a_1,..,a_T" (the probabilities to be kept by t), or a number, the same at
/// every step. Throws Error saying what is expected.
std::vector<double> redraw_schedule(const std::string& name, std::int64_t total_steps);

/// The probabilities that a cell has been kept by time 0, 1 .. T: the running product of 1 - beta_t.
std::vector<double> kept_by(const std::vector<double>& betas);

/// One step. In: x [..] int64; codes [..], drawn for every cell; uniforms [..] in [0, 1). Out: the code drawn where the
/// uniform is below beta, else x.
torch::Tensor redrawn(const torch::Tensor& x, const torch::Tensor& codes, const torch::Tensor& uniforms, double beta);

/// What a scale learns by, each the mean over cells and rows, in nats.
struct StepLoss {
  torch::Tensor hard;  // scalar: -log p(x_{t-1}) of the x_{t-1} drawn
  torch::Tensor soft;  // scalar: KL(q(x_{t-1} | x_t, x_0) || p), cell by cell
  /// soft_weight soft + (1 - soft_weight) hard.
  torch::Tensor total(double soft_weight) const { return soft_weight * soft + (1 - soft_weight) * hard; }
};

/// KL(q(x_{t-1} | x_t, x_0) || p) of each cell [N, L]. In: logits [N, L, K], log q [N, L, K]. Where q is nothing,
/// nothing counts. Differentiable in logits.
torch::Tensor step_divergence(const torch::Tensor& logits, const torch::Tensor& log_posterior);

/// In: logits [N, L, K] of x_{t-1}; x_{t-1} [N, L]; log q(x_{t-1} | x_t, x_0) [N, L, K]. Differentiable in logits.
StepLoss step_loss(const torch::Tensor& logits, const torch::Tensor& before, const torch::Tensor& log_posterior);

}  // namespace tessera
