/// Networks of released models (denoiser/networks.h) that have a training of their own weights in no recipe, but can be
/// trained through: for small updates beside them.
#pragma once

#include <memory>
#include <string>

#include "checkpoint/bundle.h"
#include "training/prior_networks.h"

namespace tessera {

/// With the weights of the bundle; nothing where its network is one of those that recipes make. Throws Error beginning
/// with `where` where parts are missing or do not fit. precision: as in a recipe.
std::unique_ptr<PriorNetworks> make_released_networks(const Bundle& start, const std::string& where,
                                                      const std::string& precision);

}  // namespace tessera
