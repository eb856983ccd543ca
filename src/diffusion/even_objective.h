/// The objective of objective.h for processes in whose steps all codes fare alike (process.h, EvenStep), without
/// tensors over all states: the posterior q(x_{t-1} | x_t, x_0) then has at most four different values (for x_0, x_t,
/// any other code, MASK), and log p(x_{t-1} | x_t) is log(a p(x_0) + b) of each code. Its gradient is written out and
/// found in the same pass.
#pragma once

#include <torch/torch.h>

#include "diffusion/objective.h"
#include "diffusion/process.h"

namespace tessera {

/// Whether even_objective computes this: the process has even steps, and the logits are on the CPU, float32 or float64.
bool has_even_objective(const Process& process, const torch::Tensor& logits);

/// The same numbers as objective(process, options, x0, xt, log_x0(logits), t, p_t) up to rounding in the logits' dtype,
/// with the same floors. In: logits [N, L, K], the others as there. Differentiable once in the logits.
ObjectiveSums even_objective(const Process& process, const ObjectiveOptions& options, const torch::Tensor& x0,
                             const torch::Tensor& xt, const torch::Tensor& logits, const torch::Tensor& t,
                             const torch::Tensor& p_t);

}  // namespace tessera
