/// What the allocator does with freed memory.
#pragma once

namespace tessera {

/// Keeps freed memory in the process instead of giving large blocks back to the system: a training step, an evaluation
/// of a denoiser and a decoder make the same large tensors again and again, and the system clears every page anew (8 %
/// of a step's time, a third of a fill's on two threads). Does nothing where the C library is not glibc.
void keep_freed_memory();

/// All threads that begin from now on share one heap, as far as the C library is glibc: of those that it makes for
/// threads it never gives the last block back. For a program whose threads come and go and take much for a moment.
void share_one_heap();

/// Gives what is free back to the system.
void give_back_free_memory();

}  // namespace tessera
