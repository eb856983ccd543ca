/// Starting a network from weights of another one: what fits is taken over, the rest is said.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"

namespace tessera {

struct TakenOver {
  std::int64_t taken = 0;
  std::vector<std::string> anew;    // tensors of the network that the other one lacks or has in another shape
  std::vector<std::string> unused;  // tensors of the other one that the network does not have

  /// "start_from: F: 120 of 123 tensors taken over; anew: head.weight, ..."
  std::string text(const std::string& source) const;
};

/// Puts into `own` (name to tensor of the network's shape) every tensor of `given` that has the same name and shape.
/// The entries of `own` are replaced, not written to.
TakenOver take_matching(TensorMap& own, const TensorMap& given);

}  // namespace tessera
