/// The few classes and functions that a torch.save pickle may refer to, as data. Everything else becomes opaque.
#pragma once

#include "checkpoint/pickle_document.h"

namespace tessera {

/// What `callable(*arguments)` stands for: a dict for OrderedDict and its like, a tensor for torch's rebuilding
/// functions, else an opaque value that bears the class's name (for a tensor built from something opaque: that one's
/// name).
PickleNode* call_known(PickleDocument& document, const PickleNode& callable, const PickleNode& arguments);

/// What a persistent id ('storage', type, key, location, count[, view]) stands for.
PickleNode* resolve_persistent(PickleDocument& document, const PickleNode& id);

}  // namespace tessera
