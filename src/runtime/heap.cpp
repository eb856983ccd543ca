#include "runtime/heap.h"

#include <limits>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace tessera {

void keep_freed_memory() {
#if defined(__GLIBC__)
  constexpr int kMost = std::numeric_limits<int>::max();  // bytes
  mallopt(M_MMAP_THRESHOLD, kMost);
  mallopt(M_TRIM_THRESHOLD, kMost);
  mallopt(M_TOP_PAD, 64 << 20);
#endif
}

}  // namespace tessera
