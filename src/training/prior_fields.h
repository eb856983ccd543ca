/// Which fields of a prior's recipe a training makes something of: what it has no use for is refused by name, and a
/// record or card holds the others alone.
#pragma once

#include <string>

#include "training/conditional_trainer.h"
#include "training/prior_trainer.h"

namespace tessera {

/// Why the training that the two describe has no use for a field; empty: it has.
std::string unused_field(const std::string& name, const PriorRecipe& prior, const ConditionalRecipe& conditional);

/// Throws UsageError naming the first field whose value is not its default and that the training does not use.
void require_used_fields(PriorRecipe prior, ConditionalRecipe conditional);

/// The fields that it uses, both lists in one; they point into the two.
Fields used_fields(PriorRecipe& prior, ConditionalRecipe& conditional);

}  // namespace tessera
