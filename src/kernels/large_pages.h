/// Memory on large pages, for what is read from one end to the other again and again.
#pragma once

#include <torch/torch.h>

namespace tessera {

/// A copy of a contiguous tensor on the CPU that lies on the system's large pages (2 MiB) where it gives some to who
/// asks (Linux: /sys/kernel/mm/transparent_hugepage/enabled not "never"). Small tensors share pages; the pages of a
/// group go back to the system with its last tensor. The tensor itself where there is no memory for it.
torch::Tensor on_large_pages(const torch::Tensor& tensor);

}  // namespace tessera
