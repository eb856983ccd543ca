#include "sampling/truncation.h"

namespace tessera {

torch::Tensor keep_rate(const torch::Tensor& log_p, double rate) {
  if (rate >= 1) return log_p;
  const auto [sorted, order] = log_p.sort(-1, true);
  const auto before = sorted.exp().cumsum(-1) - sorted.exp();
  auto kept = before < rate;
  kept.select(-1, 0).fill_(true);
  kept = torch::zeros_like(kept).scatter_(-1, order, kept);
  return log_p.masked_fill(~kept, kCut).clamp_min(kCut);
}

torch::Tensor keep_count(const torch::Tensor& log_p, std::int64_t count) {
  if (count <= 0 || count >= log_p.size(-1)) return log_p;
  const auto best = std::get<1>(log_p.topk(count, -1));
  return torch::full_like(log_p, kCut).scatter_(-1, best, log_p.gather(-1, best)).clamp_min(kCut);
}

}  // namespace tessera
