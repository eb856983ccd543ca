#include "canvas/cell_likelihood.h"

#include <algorithm>

#include "runtime/error.h"
#include "sampling/sampler.h"

namespace tessera {
namespace {

/// log p of the given codes. In: logits [M, K], codes [M].
torch::Tensor log_probability_of(const torch::Tensor& logits, const torch::Tensor& codes) {
  const auto normal = torch::log_softmax(logits.to(torch::kCPU, torch::kFloat64), -1);
  return normal.gather(1, codes.unsqueeze(1)).squeeze(1);
}

/// Which look hides each cell, [h * w].
torch::Tensor looks(Extent extent, std::int64_t spacing) {
  const auto cells = torch::arange(extent.cells());
  if (spacing == 0) return cells;
  const auto down = std::min(spacing, extent.h), across = std::min(spacing, extent.w);
  return torch::div(cells, extent.w, "floor") % down * across + cells % extent.w % across;
}

/// Given the cells before, one cell of all grids after the other.
CellLikelihood in_order(Denoiser& denoiser, const torch::Tensor& flat, const CellLikelihoodOptions& options) {
  CellLikelihood found{torch::zeros(flat.sizes(), torch::kFloat64), flat.size(0)};
  const auto evaluator = denoiser.begin(options.conditions);
  for (std::int64_t first = 0; first < flat.size(0); first += options.per_call) {
    const auto rows = flat.slice(0, first, std::min(first + options.per_call, flat.size(0)));
    std::vector<std::int64_t> conditions;
    for (std::int64_t n = 0; n < rows.size(0); ++n) conditions.push_back(first + n);
    const auto decoding = evaluator->decode(rows.size(0), conditions);
    torch::Tensor previous;
    for (std::int64_t cell = 0; cell < flat.size(1); ++cell) {
      if (options.before_call) options.before_call();
      const auto codes = rows.select(1, cell);
      found.log_probabilities.slice(0, first, first + rows.size(0))
          .select(1, cell)
          .copy_(log_probability_of(decoding->advance(previous), codes));
      previous = codes;
    }
  }
  return found;
}

}  // namespace

CellLikelihood cell_likelihood(Denoiser& denoiser, Extent native, const torch::Tensor& codes, const Process* process,
                               const CellLikelihoodOptions& options) {
  const torch::NoGradGuard no_grad;
  require(codes.dim() == 3 && codes.numel() > 0 && options.spacing >= 0 && options.per_call > 0,
          "likelihood of cells: expected codes [N, h, w] and a spacing from 0");
  const Extent extent{codes.size(1), codes.size(2)};
  const auto mask = denoiser.codebook_size();
  const auto flat = codes.reshape({codes.size(0), extent.cells()}).contiguous();
  const auto hidden_before = flat == mask;
  if (denoiser.is_autoregressive()) {
    if (extent != native || hidden_before.any().item<bool>()) {
      throw UsageError(
          fmt::format("likelihood of cells: an autoregressive model judges whole grids of its own {}x{} cells",
                      native.w, native.h));
    }
    auto found = in_order(denoiser, flat, options);
    found.log_probabilities = found.log_probabilities.view(codes.sizes());
    return found;
  }
  if (process && !process->has_mask()) throw UsageError("likelihood of cells: expected a process with MASK");
  WindowedDenoiser canvas(denoiser, native, extent, options.windows);
  Denoiser& network = extent == native ? denoiser : static_cast<Denoiser&>(canvas);
  const auto evaluator = network.begin(options.conditions);
  const auto hider = looks(extent, options.spacing);
  const auto count = hider.max().item<std::int64_t>() + 1;
  CellLikelihood found{torch::zeros(flat.sizes(), torch::kFloat64), 0};
  auto values = found.log_probabilities.view(-1);
  // Pairs (grid, look) in order, so many to a call.
  for (std::int64_t first = 0; first < flat.size(0) * count; first += options.per_call) {
    if (options.before_call) options.before_call();
    const auto pairs = torch::arange(first, std::min(first + options.per_call, flat.size(0) * count));
    const auto grids = torch::div(pairs, count, "floor");
    const auto seen = flat.index_select(0, grids);
    const auto hides = hider.unsqueeze(0) == (pairs % count).unsqueeze(1);
    const auto asked = hides & (seen != mask);
    const auto rows = asked.flatten().nonzero().squeeze(1);
    if (rows.size(0) == 0) continue;
    Look look{seen.masked_fill(hides, mask), rows};
    for (std::int64_t n = 0; n < grids.size(0); ++n) look.conditions.push_back(grids[n].item<std::int64_t>());
    if (process) {
      const auto masked = (hides | (seen == mask)).sum(1);
      auto times = torch::empty_like(masked);
      for (std::int64_t n = 0; n < masked.size(0); ++n) {
        times[n] = std::max<std::int64_t>(1, implied_time(*process, masked[n].item<std::int64_t>(), extent.cells()));
      }
      look.times = times;
    }
    const auto logits = evaluator->logits(look);
    const auto at =
        grids.index_select(0, torch::div(rows, extent.cells(), "floor")) * extent.cells() + rows % extent.cells();
    values.index_copy_(0, at, log_probability_of(logits, flat.view(-1).index_select(0, at)));
    found.evaluations += pairs.size(0);
  }
  found.log_probabilities = found.log_probabilities.view(codes.sizes());
  return found;
}

}  // namespace tessera
