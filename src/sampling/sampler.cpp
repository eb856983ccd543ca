#include "sampling/sampler.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "runtime/error.h"

namespace tessera {

FillState::FillState(const TokenGrid& grid, Denoiser& network, const FillOptions& given, const StepCallback& on_step)
    : denoiser(network),
      options(given),
      tokens(grid.flat().to(torch::kCPU).clone(at::MemoryFormat::Contiguous)),
      mask_token(grid.mask_token()),
      extent_(grid.extent()),
      on_step_(on_step) {}

std::int64_t FillState::images_per_call() const {
  if (options.images_per_call > 0) return options.images_per_call;
  if (!denoiser.device().is_cpu()) return 32;
  return denoiser.is_autoregressive() ? 8 : 1;
}

std::vector<FillState::Group> FillState::groups() const {
  const auto size = images_per_call();
  std::vector<Group> result;
  for (std::int64_t first = 0; first < count();) {
    const auto offset = static_cast<std::int64_t>((options.first_image + static_cast<std::uint64_t>(first)) %
                                                  static_cast<std::uint64_t>(size));
    const auto last = std::min(count(), first + size - offset);
    result.push_back({first, last, offset});
    first = last;
  }
  return result;
}

FillState::Draws FillState::draw(const torch::Tensor& seen, const torch::Tensor& wanted, std::uint32_t step) {
  Draws result;
  const auto size = images_per_call();
  const auto wanted_cells = wanted.contiguous();
  const bool* is_wanted = wanted_cells.data_ptr<bool>();
  for (const auto& group : groups()) {
    std::vector<std::int64_t> at;  // flat cells of the grid
    std::int64_t images = 0;
    for (auto image = group.first; image < group.last; ++image) {
      const auto before = at.size();
      for (auto cell = image * cells(); cell < (image + 1) * cells(); ++cell) {
        if (is_wanted[cell]) at.push_back(cell);
      }
      images += at.size() > before;
    }
    if (at.empty()) continue;
    const auto given = seen.narrow(0, group.first, group.last - group.first);
    torch::Tensor logits;
    if (size == 1) {
      auto rows = torch::tensor(at) - group.first * cells();
      logits = denoiser.logits_at(given, rows);
      report.evaluations += 1;
    } else {
      // The whole group at its places and every cell, so that shapes, and with them rounding, are always the same.
      auto places = torch::full({size, cells()}, mask_token, torch::kInt64);
      places.narrow(0, group.offset, group.last - group.first).copy_(given);
      logits = denoiser.logits_at(places, torch::arange(size * cells()));
      logits = logits.index_select(0, (torch::tensor(at) + (group.offset - group.first) * cells()).to(logits.device()));
      report.evaluations += images;
    }
    draw_rows(logits, at, step, result);
  }
  return result;
}

void FillState::draw_rows(const torch::Tensor& given, const std::vector<std::int64_t>& at, std::uint32_t step,
                          Draws& out) const {
  const auto logits = given.to(torch::kCPU, torch::kFloat32).contiguous();
  const auto rows = static_cast<std::int64_t>(at.size());
  require(logits.dim() == 2 && logits.size(0) == rows && logits.size(1) == mask_token,
          "fill: the denoiser returned logits of another shape than [{}, {}]", rows, mask_token);
  const auto begin = out.draws.size();
  out.cells.insert(out.cells.end(), at.begin(), at.end());
  out.draws.resize(begin + at.size());
  const float* values = logits.data_ptr<float>();
  at::parallel_for(0, rows, std::max<std::int64_t>(1, 16384 / mask_token), [&](std::int64_t from, std::int64_t to) {
    DrawScratch scratch;
    for (auto row = from; row < to; ++row) {
      const auto image = options.first_image + static_cast<std::uint64_t>(at[row] / cells());
      const RandomStream stream(options.seed, Purpose::draw_tokens, image, step);
      const double uniform = stream.uniform(static_cast<std::uint32_t>(at[row] % cells()));
      out.draws[begin + row] = draw_token(values + row * mask_token, mask_token, uniform, options.draw, scratch);
    }
  });
}

void FillState::write(const Draws& draws) {
  auto* out = tokens.data_ptr<std::int64_t>();
  for (std::size_t i = 0; i < draws.cells.size(); ++i) out[draws.cells[i]] = draws.draws[i].token;
}

bool FillState::advance(std::int64_t step, std::int64_t steps) {
  report.steps = step;
  if (on_step_ && !on_step_({step, steps, tokens.view({count(), extent_.h, extent_.w})})) report.cancelled = true;
  return !report.cancelled;
}

}  // namespace tessera
