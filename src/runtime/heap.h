/// What the allocator does with freed memory.
#pragma once

namespace tessera {

/// Keeps freed memory in the process instead of giving large blocks back to the system: a training step, an evaluation
/// of a denoiser and a decoder make the same large tensors again and again, and the system clears every page anew (8 %
/// of a step's time, a third of a fill's on two threads). Does nothing where the C library is not glibc.
void keep_freed_memory();

}  // namespace tessera
