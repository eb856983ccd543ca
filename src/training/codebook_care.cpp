#include "training/codebook_care.h"

#include <algorithm>
#include <numeric>

#include "runtime/error.h"

namespace tessera {
namespace {

constexpr std::int64_t kWindow = 200;  // steps over which use is counted where nothing is re-seeded

/// `count` distinct numbers below `limit` (repeating only where there are too few).
torch::Tensor draw_rows(const RandomStream& random, std::int64_t count, std::int64_t limit) {
  std::vector<std::int64_t> all(static_cast<std::size_t>(limit));
  std::iota(all.begin(), all.end(), 0);
  std::vector<std::int64_t> picked;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto at = static_cast<std::size_t>(i % limit);
    const auto other = at + random.below(static_cast<std::uint32_t>(i), static_cast<std::uint64_t>(limit) - at);
    std::swap(all[at], all[other]);
    picked.push_back(all[at]);
  }
  return torch::tensor(picked);
}

}  // namespace

torch::Tensor kmeans(const torch::Tensor& rows, std::int64_t k, Seed seed, int iterations) {
  require(rows.dim() == 2 && rows.size(0) > 0, "k-means: expected rows [M, D]");
  const torch::NoGradGuard no_grad;
  const auto data = rows.to(torch::kFloat32);
  const auto first = draw_rows(RandomStream(seed, Purpose::codebook_reseed), k, data.size(0));
  auto centres = data.index_select(0, first.to(data.device()));
  for (int iteration = 0; iteration < iterations; ++iteration) {
    const auto nearest = nearest_rows(data, centres);
    const auto counts = torch::bincount(nearest, {}, k);
    const auto sums = torch::zeros_like(centres).index_add_(0, nearest, data);
    auto next = torch::where((counts > 0).unsqueeze(1), sums / counts.clamp_min(1).unsqueeze(1), centres);
    const auto empty = (counts == 0).nonzero().flatten();
    if (empty.numel() > 0) {
      const auto distance = (data - centres.index_select(0, nearest)).square().sum(1);
      const auto farthest = std::get<1>(distance.topk(std::min(empty.numel(), data.size(0))));
      next.index_copy_(0, empty.slice(0, 0, farthest.numel()), data.index_select(0, farthest));
    }
    centres = next;
  }
  return centres;
}

CodebookCare::CodebookCare(std::int64_t codebook_size, std::int64_t reseed_every, std::int64_t total_steps, Seed seed)
    : codebook_size_(codebook_size),
      reseed_every_(reseed_every),
      total_steps_(total_steps),
      seed_(seed),
      counts_(torch::zeros({codebook_size}, torch::kInt64)) {}

void CodebookCare::after_step(std::int64_t step, const torch::Tensor& indices, QuantizerImpl& quantizer,
                              const torch::Tensor& latents) {
  counts_ += torch::bincount(indices.flatten().to(torch::kCPU), {}, codebook_size_);
  const auto window = reseed_every_ > 0 ? reseed_every_ : kWindow;
  if ((step + 1) % window != 0) return;
  in_use_ = (counts_ > 0).sum().item<std::int64_t>();
  if (reseeds(step)) {
    const auto dead = (counts_ == 0).nonzero().flatten();
    if (dead.numel() > 0) {
      const auto candidates = quantizer.candidates(latents);
      const RandomStream random(seed_, Purpose::codebook_reseed, 1, static_cast<std::uint32_t>(step));
      const auto rows = draw_rows(random, dead.numel(), candidates.size(0)).to(candidates.device());
      quantizer.replace_rows(dead.to(candidates.device()), candidates.index_select(0, rows));
    }
  }
  counts_.zero_();
}

std::int64_t CodebookCare::codes_in_use() const {
  return in_use_ >= 0 ? in_use_ : (counts_ > 0).sum().item<std::int64_t>();
}

torch::Tensor CodebookCare::state() const {
  return torch::cat({counts_, torch::tensor({in_use_}, torch::kInt64)});
}

void CodebookCare::restore(const torch::Tensor& state) {
  require(state.numel() == codebook_size_ + 1, "training state: 'codebook_care' has {} entries, expected {}",
          state.numel(), codebook_size_ + 1);
  counts_.copy_(state.slice(0, 0, codebook_size_));
  in_use_ = state[codebook_size_].item<std::int64_t>();
}

}  // namespace tessera
