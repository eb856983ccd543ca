/// The intrinsic multi-scale distance (IMD) of two sets of features: how their nearest-neighbour graphs let heat
/// spread, at every scale, whatever the widths of the features. Tsitsulin et al., "The Shape of Data: Intrinsic
/// Distance for Data Distributions", arXiv:1905.11141, sections 3 and 4; conventions as in github.com/xgfs/imd.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

namespace tessera {

struct ImdOptions {
  std::int64_t k = 5;               // neighbours of each row in the graph; 1 <= k < rows
  std::int64_t lanczos_steps = 10;  // m
  std::int64_t probes = 100;        // random vectors of the trace's estimate
  std::int64_t temperatures = 256;  // t, spread evenly in the logarithm over 0.1 .. 10
  std::uint64_t seed = 0;

  /// Throws UsageError naming the option.
  void validate() const;
};

/// The temperatures t, ascending.
std::vector<double> imd_temperatures(const ImdOptions& options);

/// Trace of exp(-t L) over the rows N, for every temperature: L = I - D^-1/2 A D^-1/2 of the graph in which rows are
/// joined where one is among the other's k nearest. By stochastic Lanczos quadrature, the estimate's error in the
/// linear term taken out (its trace is known: N). In: features [N, D].
std::vector<double> heat_trace(const torch::Tensor& features, const ImdOptions& options = {});

/// 10^6 times the largest difference of two traces over t, weighted by exp(-2 (t + 1 / t)). In: as heat_trace gives
/// them.
double imd(const std::vector<double>& a, const std::vector<double>& b, const ImdOptions& options = {});

}  // namespace tessera
