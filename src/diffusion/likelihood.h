/// Likelihood of token rows: the absorbing process's variational bound over all time steps, and the exact
/// autoregressive one.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>

#include "diffusion/absorbing.h"

namespace tessera {

/// p(x0 | xt) of some cells. In: tokens [N, L], rows [M] flat cells. Out: logits [M, K].
using LogitsAt = std::function<torch::Tensor(const torch::Tensor& tokens, const torch::Tensor& rows)>;

/// The terms CE_t / t of the bound, with given masks. In: x0 [N, L], masks [T, N, L] bool (index t-1). Out: [T, N]
/// float64 nats; their sum over t bounds -log p(x0).
torch::Tensor elbo_terms(const LogitsAt& denoise, const torch::Tensor& x0, const torch::Tensor& masks,
                         std::int64_t mask_token);

/// The same with one counter-based mask for each t: row r at step t is (seed, training_masks, first_row + r, t).
torch::Tensor elbo_terms(const LogitsAt& denoise, const torch::Tensor& x0, const AbsorbingProcess& process, Seed seed,
                         std::uint64_t first_row = 0);

/// -log p(x) of each row. In: logits [N, L, K] where entry i predicts token i, tokens [N, L]. Out: [N] nats.
torch::Tensor autoregressive_nll(const torch::Tensor& logits, const torch::Tensor& tokens);

/// nats of a row of `cells` tokens as bits per token.
torch::Tensor bits_per_token(const torch::Tensor& nats, std::int64_t cells);

}  // namespace tessera
