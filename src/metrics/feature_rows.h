/// Feature matrices: what the metrics of distributions (FID, KID, precision and recall) take in.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>

namespace tessera {

/// Checks a feature matrix. In: features [N, D] float32 or float64 on the CPU; minimum, rows that the metric needs;
/// what, how to call it in messages ("real features"). Throws Error naming the shape, the type, too few rows, or the
/// first row that holds NaN or an infinity.
void require_features(const torch::Tensor& features, std::int64_t minimum, const std::string& what);

/// The same for two sets, whose widths must agree. Throws Error also where they differ.
void require_features(const torch::Tensor& real, const torch::Tensor& fake, std::int64_t minimum);

/// `count` different indices in [0, total), ascending order not promised: subset number `subset` of a seed.
/// Throws Error where count > total.
torch::Tensor random_subset(std::int64_t total, std::int64_t count, std::uint64_t seed, std::uint64_t subset);

}  // namespace tessera
