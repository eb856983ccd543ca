/// What a data set says of its pictures, as the conditions of a prior.
#pragma once

#include <string>

#include "data/dataset.h"
#include "training/prior_recipe.h"

namespace tessera {

/// Captions or labels of the set's pictures in the order of their grids (token_data.h). Empty where the recipe asks for
/// none. Throws Error where it asks for captions that no picture has. name: what to call the set in that message.
ConditionData conditions_of(const Dataset& data, const std::string& name, const PriorRecipe& recipe);

}  // namespace tessera
