/// The purity prior and high-quality inference: which cells are unmasked at a step, and how sharply. Tang et al.,
/// "Improved Vector Quantized Diffusion Models", arXiv:2205.16007, section 3.2, eq. 9 to 11, and the authors' program.
#pragma once

#include <torch/torch.h>

#include <cstdint>

namespace tessera {

/// The purity of each cell: its greatest probability, over the greatest of all cells. In: log p(x_0) [N, L, K].
/// Out: [N, L] in (0, 1].
torch::Tensor purity_scores(const torch::Tensor& log_p);

/// The distribution that x_0 is drawn from: proportional to p^(1 + weight * score), logarithms in [-70, 0].
/// In: log p [N, L, K], score [N, L]. Out: [N, L, K].
torch::Tensor sharpened(const torch::Tensor& log_p, const torch::Tensor& score, double weight);

/// The weights with which cells are drawn without replacement: the score where a cell is MASK, 0 elsewhere; 1 is added
/// to every score first where all of them together come to less than 1e-6. In: score [N, L], masked [N, L] bool.
torch::Tensor cell_weights(const torch::Tensor& score, const torch::Tensor& masked);

/// How many cells one call unmasks: what is left of `wanted`, at most `most`; all that is left where one would be.
std::int64_t cells_to_unmask(std::int64_t wanted, std::int64_t done, std::int64_t most);

}  // namespace tessera
