#include "canvas/variations.h"

#include <algorithm>
#include <cmath>

#include "runtime/error.h"
#include "sampling/sampler.h"

namespace tessera {
namespace {

/// The `count` eligible cells of least key, as [h, w] bool. Ties go to the earlier cell.
template <typename Key>
torch::Tensor smallest(const torch::Tensor& eligible, std::int64_t count, Key key) {
  const auto flags = eligible.contiguous();
  std::vector<std::pair<double, std::int64_t>> ranked;
  for (std::int64_t cell = 0; cell < flags.numel(); ++cell) {
    if (flags.data_ptr<bool>()[cell]) ranked.emplace_back(key(cell), cell);
  }
  require(count >= 0 && count <= static_cast<std::int64_t>(ranked.size()), "variations: {} of {} cells", count,
          ranked.size());
  std::sort(ranked.begin(), ranked.end());
  auto result = torch::zeros(flags.sizes(), torch::kBool);
  for (std::int64_t i = 0; i < count; ++i) result.data_ptr<bool>()[ranked[static_cast<std::size_t>(i)].second] = true;
  return result;
}

}  // namespace

std::int64_t cells_of_strength(double strength, std::int64_t cells) {
  if (!(strength > 0 && strength <= 1))
    throw UsageError(fmt::format("strength is {}, expected 0 < strength <= 1", strength));
  return std::max<std::int64_t>(1, std::llround(strength * static_cast<double>(cells)));
}

torch::Tensor random_cells(const torch::Tensor& eligible, std::int64_t count, Seed seed, std::uint64_t image) {
  const RandomStream stream(seed, Purpose::initial_mask, image);
  return smallest(eligible, count, [&](std::int64_t cell) { return stream.uniform(static_cast<std::uint32_t>(cell)); });
}

torch::Tensor token_log_probabilities(Denoiser& denoiser, Extent native, const WindowOptions& windows,
                                      const torch::Tensor& codes, const Process* process,
                                      const std::vector<Condition>& conditions) {
  const torch::NoGradGuard no_grad;
  const Extent extent{codes.size(0), codes.size(1)};
  WindowedDenoiser canvas(denoiser, native, extent, windows);
  const auto evaluator = canvas.begin(conditions);
  const auto flat = codes.flatten();
  auto result = torch::zeros({extent.cells()}, torch::kFloat64);
  const auto cells = torch::arange(extent.cells());
  const auto pass = torch::div(cells, extent.w, "floor") % 2 * 2 + cells % extent.w % 2;
  for (std::int64_t i = 0; i < 4; ++i) {
    const auto masked = pass == i;
    const auto rows = masked.nonzero().squeeze(1);
    if (rows.size(0) == 0) continue;
    Look look{flat.masked_fill(masked, denoiser.codebook_size()).unsqueeze(0), rows};
    if (process) {
      require(process->has_mask(), "variations: the least likely cells need a process with MASK");
      look.times = torch::full({1}, implied_time(*process, rows.size(0), extent.cells()), torch::kInt64);
    }
    const auto logits = evaluator->logits(look);
    const auto own = flat.index_select(0, rows).unsqueeze(1);
    result.index_copy_(0, rows, logits.gather(1, own).squeeze(1).to(torch::kFloat64));
  }
  return result.view(codes.sizes());
}

torch::Tensor least_likely_cells(const torch::Tensor& log_probabilities, const torch::Tensor& eligible,
                                 std::int64_t count) {
  const auto values = log_probabilities.to(torch::kFloat64).contiguous();
  return smallest(eligible, count, [&](std::int64_t cell) { return values.data_ptr<double>()[cell]; });
}

EditPlan with_cells(EditPlan plan, const torch::Tensor& cells) {
  require(plan.original.defined(), "variations: the grid has no tokens of its own");
  plan.codes = plan.original.masked_fill(cells, plan.codebook_size);
  return plan;
}

}  // namespace tessera
