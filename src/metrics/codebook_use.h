/// Which codes of a codebook a set of token grids uses, and how evenly.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

namespace tessera {

struct CodebookHistogram {
  std::vector<std::int64_t> counts;  // [K] how often each code occurs
  std::vector<std::int64_t> dead;    // codes that never occur, ascending
  std::int64_t used = 0;             // K - dead
  std::int64_t tokens = 0;
  double entropy_bits = 0;  // of the code frequencies, at most log2 K
  double perplexity = 0;    // 2^entropy: as many codes used evenly
};

/// In: codes [N, h, w] (any shape) int64 below codebook_size. Throws Error on a code out of range.
CodebookHistogram codebook_histogram(const torch::Tensor& codes, std::int64_t codebook_size);

}  // namespace tessera
