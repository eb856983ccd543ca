/// The multinomial chain of ImageBART: at step t each cell is replaced by any code alike (perhaps its own) with
/// probability beta_t, in few steps. Esser et al., arXiv:2108.08827, section 3.1; what each step forward loses is what
/// a transformer of its own learns to bring back. The process is MaskReplaceProcess::uniform of these probabilities.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "diffusion/process.h"

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

/// Logits [N, L, K] of x_{t-1} [N, L], each cell's given those before it and x_t [N, L].
using StepLogits =
    std::function<torch::Tensor(const torch::Tensor& xt, const torch::Tensor& before, std::int64_t time)>;

/// Uniforms a cell that redraw_bound_terms takes for a chain of T steps.
inline std::int64_t uniforms_of_bound(std::int64_t total_steps) {
  return 3 * total_steps;
}

/// Every term of the variational bound of -log p(x_0) of a chain whose steps back go cell by cell: entry 0 the
/// divergence of q(x_T | x_0) from codes drawn alike, entries t = 1..T the sum over cells of KL(q(x_{t-1} of the cell |
/// x_t, x_0) || p(the cell | the cells before it, x_t)) for one draw of x_{t-1} and x_t. Given x_0 and x_t the cells of
/// x_{t-1} are independent, so that its expectation is the divergence of the whole step. Esser et al.,
/// arXiv:2108.08827, equation 4. In: a process without MASK in whose steps all codes fare alike; x0 [N, L]; uniforms
/// [N, uniforms_of_bound(T) L] in (0, 1). Out: [T + 1, N] nats, differentiable in the logits.
torch::Tensor redraw_bound_terms(const Process& process, const StepLogits& logits, const torch::Tensor& x0,
                                 const torch::Tensor& uniforms);

}  // namespace tessera
