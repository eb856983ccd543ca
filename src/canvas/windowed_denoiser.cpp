#include "canvas/windowed_denoiser.h"

#include <algorithm>

#include "runtime/error.h"
#include "runtime/wanted.h"

namespace tessera {
namespace {

/// One cell that is asked for, as one window sees it.
struct Sight {
  std::int64_t window;  // n * lattice.count() + index in the lattice
  std::int64_t cell;    // within the window, row-major
  std::int64_t row;     // place among the rows asked for
};

/// The windows along one axis that hold the cell `at`: [first, last) of the starts.
std::pair<std::size_t, std::size_t> holding(const std::vector<std::int64_t>& starts, std::int64_t window,
                                            std::int64_t at) {
  const auto first = std::upper_bound(starts.begin(), starts.end(), at - window) - starts.begin();
  const auto last = std::upper_bound(starts.begin(), starts.end(), at) - starts.begin();
  return {static_cast<std::size_t>(first), static_cast<std::size_t>(last)};
}

std::vector<Sight> sights_of(const WindowLattice& lattice, Extent canvas, const torch::Tensor& rows) {
  std::vector<Sight> sights;
  const auto columns = lattice.lefts.size();
  const auto* flat = rows.data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < rows.size(0); ++i) {
    const auto image = flat[i] / canvas.cells(), y = flat[i] % canvas.cells() / canvas.w, x = flat[i] % canvas.w;
    const auto [top, top_end] = holding(lattice.tops, lattice.window.h, y);
    const auto [left, left_end] = holding(lattice.lefts, lattice.window.w, x);
    for (auto a = top; a < top_end; ++a) {
      for (auto b = left; b < left_end; ++b) {
        const auto cell = (y - lattice.tops[a]) * lattice.window.w + x - lattice.lefts[b];
        sights.push_back({image * lattice.count() + static_cast<std::int64_t>(a * columns + b), cell, i});
      }
    }
  }
  std::sort(sights.begin(), sights.end(), [](const Sight& a, const Sight& b) {
    return a.window != b.window ? a.window < b.window : a.cell < b.cell;
  });
  return sights;
}

/// Copies the cells under a window; cells beyond the canvas keep what `out` holds.
void cut_window(const std::int64_t* grid, Extent canvas, Extent window, std::int64_t top, std::int64_t left,
                std::int64_t* out) {
  const auto height = std::min(window.h, canvas.h - top), width = std::min(window.w, canvas.w - left);
  for (std::int64_t y = 0; y < height; ++y) {
    std::copy_n(grid + (top + y) * canvas.w + left, width, out + y * window.w);
  }
}

/// A look at windows of the canvases given, each under its canvas's time and condition.
Look part_of(const Look& look, const std::vector<std::int64_t>& canvases, const torch::Tensor& tokens,
             const std::vector<std::int64_t>& wanted) {
  Look part{tokens, torch::tensor(wanted)};
  part.times = look.times;
  if (look.times.defined() && look.times.size(0) > 1)
    part.times = look.times.index_select(0, torch::tensor(canvases).to(look.times.device()));
  for (const auto canvas : canvases)
    part.conditions.push_back(look.conditions.empty() ? canvas : look.conditions.at(static_cast<std::size_t>(canvas)));
  if (!look.guidance.empty()) {
    for (const auto canvas : canvases) part.guidance.push_back(look.guidance.at(static_cast<std::size_t>(canvas)));
  }
  part.key = look.key;
  part.step = look.step;
  return part;
}

}  // namespace

std::int64_t WindowOptions::stride_along(std::int64_t side) const {
  return stride > 0 ? std::min(stride, side) : std::max<std::int64_t>(1, side / 2);
}

void WindowOptions::validate(Extent window) const {
  const auto most = std::max(window.h, window.w);
  if (stride < 0 || stride > most) {
    throw UsageError(fmt::format("stride is {}, expected 1 to {} cells, or 0 for half a window", stride, most));
  }
  if (per_call < 0 || per_call > 4096) {
    throw UsageError(fmt::format("windows_per_call is {}, expected 1 to 4096, or 0 for the default", per_call));
  }
}

torch::Tensor window_mixture(Evaluator& network, std::int64_t codes, const WindowLattice& lattice, Extent canvas,
                             const Look& look, std::int64_t per_call, std::int64_t& evaluations) {
  const auto tokens = look.tokens.to(torch::kCPU).contiguous();
  const auto rows = look.rows.to(torch::kCPU).contiguous();
  require(tokens.dim() == 2 && tokens.size(1) == canvas.cells(), "windows: rows of {} tokens, expected {}",
          tokens.dim() == 2 ? tokens.size(1) : 0, canvas.cells());
  const auto cells = lattice.window.cells(), windows = lattice.count();
  auto mixture = torch::zeros({rows.size(0), codes});
  auto counts = torch::zeros({rows.size(0), 1});
  const auto sights = sights_of(lattice, canvas, rows);
  const auto* grids = tokens.data_ptr<std::int64_t>();
  auto* seen_by = counts.data_ptr<float>();
  for (std::size_t begin = 0; begin < sights.size();) {
    // Flat windows; flat cells of the batch; rows of the mixture; the canvas of each window.
    std::vector<std::int64_t> batch, wanted, targets, canvases;
    std::int64_t count = 0;
    auto at = begin;
    for (; at < sights.size(); ++at) {
      const auto& sight = sights[at];
      if (at == begin || sight.window != sights[at - 1].window) {
        if (count == per_call) break;
        batch.resize(static_cast<std::size_t>((count + 1) * cells), codes);
        const auto index = static_cast<std::size_t>(sight.window % windows);
        cut_window(grids + sight.window / windows * canvas.cells(), canvas, lattice.window,
                   lattice.tops[index / lattice.lefts.size()], lattice.lefts[index % lattice.lefts.size()],
                   batch.data() + count * cells);
        canvases.push_back(sight.window / windows);
        ++count;
      }
      wanted.push_back((count - 1) * cells + sight.cell);
      targets.push_back(sight.row);
      seen_by[sight.row] += 1;
    }
    begin = at;
    check_wanted();  // a step of a large canvas takes long
    const auto logits = network.logits(part_of(look, canvases, torch::tensor(batch).view({count, cells}), wanted));
    mixture.index_add_(0, torch::tensor(targets), torch::softmax(logits.to(torch::kCPU, torch::kFloat32), -1));
    evaluations += count;
  }
  return mixture / counts.clamp_min(1);
}

WindowedDenoiser::WindowedDenoiser(Denoiser& network, Extent window, Extent canvas, const WindowOptions& options)
    : network_(network), window_(window), canvas_(canvas), options_(options) {
  options_.validate(window);
  if (network.is_autoregressive()) {
    throw UsageError(
        fmt::format("an autoregressive prior fills its own grid of {}x{} cells only, not {}x{}: it cannot "
                    "see windows of a canvas; use a bidirectional one",
                    window.w, window.h, canvas.w, canvas.h));
  }
  if (options_.per_call == 0) options_.per_call = network.device().is_cpu() ? 8 : 64;
}

WindowLattice WindowedDenoiser::lattice(std::int64_t shift_down, std::int64_t shift_right) const {
  return {window_, window_starts(canvas_.h, window_.h, options_.stride_along(window_.h), shift_down),
          window_starts(canvas_.w, window_.w, options_.stride_along(window_.w), shift_right)};
}

class WindowedEvaluator : public Evaluator {
 public:
  WindowedEvaluator(WindowedDenoiser& canvas, const std::vector<Condition>& conditions)
      : canvas_(canvas), network_(canvas.network_.begin(conditions)), lattice_(canvas.lattice(0, 0)) {}

  torch::Tensor logits(const Look& look) override {
    if (canvas_.options_.random) shift(look);
    return window_mixture(*network_, canvas_.codebook_size(), lattice_, canvas_.canvas_, look,
                          canvas_.options_.per_call, canvas_.evaluations_)
        .log();
  }

 private:
  void shift(const Look& look) {
    const RandomStream stream(look.key.seed, Purpose::window_choice, look.key.image, look.step);
    const auto part = [&](std::uint32_t axis, std::int64_t side) {
      return static_cast<std::int64_t>(
          stream.below(axis, static_cast<std::uint64_t>(canvas_.options_.stride_along(side))));
    };
    lattice_ = canvas_.lattice(part(0, canvas_.window_.h), part(1, canvas_.window_.w));
  }

  WindowedDenoiser& canvas_;
  std::unique_ptr<Evaluator> network_;
  WindowLattice lattice_;
};

std::unique_ptr<Evaluator> WindowedDenoiser::begin(const std::vector<Condition>& conditions) {
  return std::make_unique<WindowedEvaluator>(*this, conditions);
}

}  // namespace tessera
