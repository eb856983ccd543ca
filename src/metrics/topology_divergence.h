/// Manifold topology divergence (MTop-Div): how long, over all scales, loops of one set of features stay open that the
/// other set does not fill. Barannikov et al., "Manifold Topology Divergence", arXiv:2106.04024, sections 2.3 and 2.4;
/// batches as in github.com/IlyaTrofimov/MTopDiv.
///
/// MTop-Div(P, Q) sums the lengths of the bars in dimension 1 of the Vietoris-Rips complex of P and Q together in which
/// all distances within Q are 0. Q is a simplex from the start, so that this is the homology relative to it: of the
/// edges of a p to Q only the shortest counts, and of the triangles of two p and a q only the first one. What is left
/// is a complex over the points of P and one point for all of Q, which gives the same bars.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

namespace tessera {

struct TopologyDivergenceOptions {
  std::int64_t points = 1000;   // of P in a batch, lowered to its rows
  std::int64_t others = 10000;  // of Q in a batch, lowered to its rows
  std::int64_t batches = 10;    // the mean over them is the value
  std::uint64_t seed = 0;

  /// Throws UsageError naming the option.
  void validate() const;
};

struct TopologyDivergence {
  double mean = 0;
  double standard_error = 0;            // over batches
  std::int64_t points = 0, others = 0;  // that a batch had
};

struct Bar {
  double birth = 0, death = 0;
};

/// Bars in dimension 1 of all rows: Cross-Barcode_1(P, Q), those of length 0 left out. In: p [N, D], q [M, D]. Memory:
/// N^2 numbers.
std::vector<Bar> cross_barcode(const torch::Tensor& p, const torch::Tensor& q);

/// In: p [N, D], q [M, D]. Not symmetric.
TopologyDivergence topology_divergence(const torch::Tensor& p, const torch::Tensor& q,
                                       const TopologyDivergenceOptions& options = {});

}  // namespace tessera
