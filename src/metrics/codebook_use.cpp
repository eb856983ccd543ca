#include "metrics/codebook_use.h"

#include <cmath>

#include "runtime/error.h"

namespace tessera {

CodebookHistogram codebook_histogram(const torch::Tensor& codes, std::int64_t codebook_size) {
  require(codes.numel() > 0 && codes.scalar_type() == torch::kInt64, "codebook use: expected int64 codes");
  const auto lowest = codes.min().item<std::int64_t>(), highest = codes.max().item<std::int64_t>();
  require(lowest >= 0 && highest < codebook_size, "codebook use: code {}, expected 0 to {}",
          lowest < 0 ? lowest : highest, codebook_size - 1);
  const auto counts = torch::bincount(codes.flatten(), {}, codebook_size).contiguous();
  CodebookHistogram histogram;
  histogram.counts.assign(counts.data_ptr<std::int64_t>(), counts.data_ptr<std::int64_t>() + codebook_size);
  histogram.tokens = codes.numel();
  for (std::int64_t code = 0; code < codebook_size; ++code) {
    const auto count = histogram.counts[static_cast<std::size_t>(code)];
    if (count == 0) {
      histogram.dead.push_back(code);
      continue;
    }
    const double share = static_cast<double>(count) / static_cast<double>(histogram.tokens);
    histogram.entropy_bits -= share * std::log2(share);
  }
  histogram.used = codebook_size - static_cast<std::int64_t>(histogram.dead.size());
  histogram.perplexity = std::exp2(histogram.entropy_bits);
  return histogram;
}

}  // namespace tessera
