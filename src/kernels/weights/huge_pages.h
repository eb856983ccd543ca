/// Memory on large pages, for what is read from one end to the other again and again.
#pragma once

#include <torch/torch.h>

#include <cstdint>

namespace tessera {

/// Uninitialised elements [count] on the system's large pages (2 MiB) where it gives some to who asks (Linux:
/// /sys/kernel/mm/transparent_hugepage/enabled not "never"), aligned to a cache line. Small tensors share pages; the
/// pages of a group go back to the system with its last tensor. Ordinary memory where there is none.
torch::Tensor empty_on_huge_pages(std::int64_t count, torch::ScalarType type);

}  // namespace tessera
