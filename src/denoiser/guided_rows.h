/// Classifier-free guidance of the rows of a look: which rows are evaluated with and without their condition, as one
/// batch, and how the two are mixed. Ho and Salimans, arXiv:2207.12598.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "denoiser/denoiser.h"

namespace tessera {

/// The evaluations that a look at N rows comes to.
struct Halves {
  std::vector<std::int64_t> rows, conditions;  // of the look, for each row evaluated
  std::size_t nulls = 0;                       // so many of them first are without their condition
};

/// Evaluates the rows of `halves`. In: at [M'], flat cells over these rows. Out: [M', K].
using EvaluateHalves = std::function<torch::Tensor(const Halves& halves, const torch::Tensor& at)>;
/// In: of the same cells without and with the condition [M, K], scale [M, 1]. Out: [M, K].
using MixHalves = torch::Tensor (*)(const torch::Tensor& unconditional, const torch::Tensor& conditional,
                                    const torch::Tensor& scale);

/// The mix of the cells that the look asks for, [M, K]. Rows whose scale is 0 or 1 are evaluated once and not mixed;
/// the unconditional rows stand first.
torch::Tensor guided_look(const Look& look, const std::vector<Condition>& conditions, const EvaluateHalves& evaluate,
                          MixHalves mix);

}  // namespace tessera
