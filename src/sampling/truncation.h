/// Cutting a distribution of x_0 down to its likely classes. Gu et al., arXiv:2111.14822, section 4.4 (truncation
/// rate); the count form is the authors' program's.
#pragma once

#include <torch/torch.h>

#include <cstdint>

namespace tessera {

inline constexpr double kCut = -70;  // what is cut away has this log probability, as published

/// A class stays where the probability of all likelier ones together is below `rate`: the likeliest always, and the one
/// that crosses the rate. The others become kCut; nothing is normalised. 1 disables. In, out: log p [.., K].
torch::Tensor keep_rate(const torch::Tensor& log_p, double rate);

/// The `count` likeliest classes stay. 0 disables.
torch::Tensor keep_count(const torch::Tensor& log_p, std::int64_t count);

}  // namespace tessera
