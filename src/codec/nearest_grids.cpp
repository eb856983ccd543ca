#include "codec/nearest_grids.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "runtime/error.h"

namespace tessera {
namespace {

constexpr std::int64_t kRows = 4096;   // of the set, widened to int64 at a time
constexpr std::int64_t kQueries = 16;  // looked for at a time: a table [L, K] each

void check(const torch::Tensor& tokens, std::int64_t codes, const char* what) {
  require(tokens.dim() == 3 && !tokens.is_floating_point() && tokens.numel() > 0,
          "nearest grids: {}: expected whole numbers [n, h, w], at least one grid", what);
  const auto least = tokens.min().item<std::int64_t>(), most = tokens.max().item<std::int64_t>();
  require(least >= 0 && most < codes, "nearest grids: {}: tokens {} to {}, expected 0 to {}", what, least, most,
          codes - 1);
}

/// Squared distance of every codebook row from the row at each cell of one grid. Out: [L, K] float32, contiguous.
torch::Tensor squares_from(const torch::Tensor& grid, const torch::Tensor& codebook) {
  const auto own = codebook.index_select(0, grid);
  return torch::cdist(own, codebook, 2, 2).square().contiguous();  // mode 2: differences, exact where rows are equal
}

/// Mean over the cells of the look-ups of each set row. In: table [L, K]; rows [n, L] int64. Out: into [n].
void look_up(const torch::Tensor& table, const torch::Tensor& rows, float* out) {
  const auto cells = table.size(0), codes = table.size(1);
  const auto* squares = table.data_ptr<float>();
  const auto* tokens = rows.data_ptr<std::int64_t>();
  at::parallel_for(0, rows.size(0), 64, [&](std::int64_t begin, std::int64_t end) {
    for (auto row = begin; row < end; ++row) {
      double sum = 0;
      for (std::int64_t cell = 0; cell < cells; ++cell) sum += squares[cell * codes + tokens[row * cells + cell]];
      out[row] = static_cast<float>(sum / static_cast<double>(cells));
    }
  });
}

}  // namespace

NearestGrids nearest_grids(const torch::Tensor& queries, const torch::Tensor& set, const torch::Tensor& codebook,
                           std::int64_t k) {
  require(codebook.dim() == 2 && codebook.numel() > 0, "nearest grids: expected a codebook [K, D]");
  require(k >= 1, "nearest grids: {} neighbours, expected 1 or more", k);
  check(queries, codebook.size(0), "grids");
  check(set, codebook.size(0), "set");
  require(queries.size(1) == set.size(1) && queries.size(2) == set.size(2),
          "nearest grids: grids of {}x{} cells, a set of {}x{}", queries.size(1), queries.size(2), set.size(1),
          set.size(2));
  const torch::NoGradGuard no_grad;
  const auto rows = codebook.detach().to(torch::kCPU, torch::kFloat32).contiguous();
  const auto flat = queries.to(torch::kCPU, torch::kInt64).flatten(1);
  const auto count = set.size(0);
  auto squares = torch::empty({flat.size(0), count}, torch::kFloat32);
  for (std::int64_t first = 0; first < flat.size(0); first += kQueries) {
    const auto last = std::min(first + kQueries, flat.size(0));
    std::vector<torch::Tensor> tables;
    for (auto i = first; i < last; ++i) tables.push_back(squares_from(flat[i], rows));
    for (std::int64_t start = 0; start < count; start += kRows) {
      const auto end = std::min(start + kRows, count);
      const auto part = set.slice(0, start, end).to(torch::kCPU, torch::kInt64).flatten(1).contiguous();
      for (auto i = first; i < last; ++i) {
        look_up(tables[static_cast<std::size_t>(i - first)], part, squares.data_ptr<float>() + i * count + start);
      }
    }
  }
  // Two rows drawn at random lie 2 tr(covariance) apart in the mean square.
  const auto centred = rows.to(torch::kFloat64) - rows.to(torch::kFloat64).mean(0, true);
  const double apart = 2 * centred.square().sum(1).mean().item<double>();
  const auto order = squares.argsort(/*stable=*/true, 1, false).slice(1, 0, std::min(k, count));
  auto distances = squares.gather(1, order).sqrt();
  if (apart > 0) distances = distances / std::sqrt(apart);
  return {order.contiguous(), distances};
}

torch::Tensor equal_cells(const torch::Tensor& a, const torch::Tensor& b) {
  require(a.sizes() == b.sizes() && a.dim() >= 2, "equal cells: expected two tensors [..., h, w] of one shape");
  return a.to(torch::kInt64).eq(b.to(torch::kInt64)).to(torch::kFloat32).mean({-2, -1});
}

}  // namespace tessera
