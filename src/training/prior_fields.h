/// Which fields of a prior's recipe a training makes something of: what it has no use for is refused by name, and a
/// record or card holds the others alone.
#pragma once

#include <string>

#include "training/prior_recipe.h"

namespace tessera {

/// Why the training that the recipe describes has no use for a field; empty: it has.
std::string unused_field(const std::string& name, const PriorRecipe& recipe);

/// Throws UsageError naming the first field whose value is not its default and that the training does not use.
void require_used_fields(PriorRecipe recipe);

/// The fields that it uses; they point into the recipe.
Fields used_fields(PriorRecipe& recipe);

}  // namespace tessera
