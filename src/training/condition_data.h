/// What a data set says of its pictures, as the conditions of a prior.
#pragma once

#include "data/dataset.h"
#include "training/conditional_trainer.h"

namespace tessera {

/// Captions or labels of the set's pictures in the order of their grids (token_data.h). Empty where the recipe asks for
/// none, or for captions that no picture has.
ConditionData conditions_of(const Dataset& data, const ConditionalRecipe& conditional);

}  // namespace tessera
