// What PRDC and FID cost beside one matrix product of the same size: float32 [N, D] x [D, N], N = 10,000, D = 2048.
// Processor seconds, so that other programs on the machine do not count.
// usage: bench_metrics [N] [D] [threads]
#include <fmt/format.h>
#include <torch/torch.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <functional>

#include "metrics/frechet.h"
#include "metrics/prdc.h"

namespace {

/// Processor time of all threads.
double seconds(const std::function<void()>& call) {
  const auto begin = std::clock();
  call();
  return static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
}

}  // namespace

int main(int argc, char** argv) {
  const auto number = [&](int place, std::int64_t otherwise) -> std::int64_t {
    return argc > place ? std::atoll(argv[place]) : otherwise;
  };
  const auto rows = number(1, 10'000), width = number(2, 2048);
  if (argc > 3) torch::set_num_threads(static_cast<int>(number(3, 1)));
  torch::manual_seed(0);
  const auto real = torch::randn({rows, width}), fake = torch::randn({rows, width});
  const double product = seconds([&] {
    for (std::int64_t i = 0; i < rows; i += 2048) (void)torch::mm(real.slice(0, i, std::min(i + 2048, rows)), fake.t());
  });
  fmt::print("{} x {} features\n", rows, width);
  fmt::print("one matrix product      {:8.2f} s\n", product);
  tessera::Prdc figures;
  const double balls = seconds([&] { figures = tessera::prdc(real, fake); });
  fmt::print("PRDC (two products)     {:8.2f} s   {:.2f} x   precision {:.4f}\n", balls, balls / product,
             figures.precision);
  double distance = 0;
  const double frechet = seconds([&] { distance = tessera::frechet_distance(real, fake); });
  fmt::print("FID                     {:8.2f} s   {:.2f} x   {:.4f}\n", frechet, frechet / product, distance);
}
