// What PRDC and FID cost beside one matrix product of the same size: float32 [N, D] x [D, N], N = 10,000, D = 2048, by
// LibTorch and by the product that PRDC itself uses. Processor seconds, so that other programs on the machine do not
// count; the most memory held so far.
// usage: bench_metrics [N] [D] [threads]
#include <dlfcn.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <torch/torch.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <functional>

#include "kernels/ops/layers.h"
#include "metrics/frechet.h"
#include "metrics/prdc.h"

namespace {

/// Processor time of all threads.
double seconds(const std::function<void()>& call) {
  const auto begin = std::clock();
  call();
  return static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
}

double peak_memory_mib() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

}  // namespace

int main(int argc, char** argv) {
  const auto number = [&](int place, std::int64_t otherwise) -> std::int64_t {
    return argc > place ? std::atoll(argv[place]) : otherwise;
  };
  const auto rows = number(1, 10'000), width = number(2, 2048);
  if (argc > 3) {
    const auto threads = static_cast<int>(number(3, 1));
    torch::set_num_threads(threads);
    // OpenBLAS has threads of its own, whose waiting would count as work.
    if (void* set = dlsym(RTLD_DEFAULT, "openblas_set_num_threads")) reinterpret_cast<void (*)(int)>(set)(threads);
  }
  torch::manual_seed(0);
  const auto real = torch::randn({rows, width}), fake = torch::randn({rows, width});
  constexpr std::int64_t kBlock = 512;
  const auto product_by = [&](const auto& multiply) {
    return seconds([&] {
      for (std::int64_t i = 0; i < rows; i += kBlock) (void)multiply(real.slice(0, i, std::min(i + kBlock, rows)));
    });
  };
  const double product = product_by([&](const torch::Tensor& part) { return torch::mm(part, fake.t()); });
  const double own = product_by(
      [&](const torch::Tensor& part) { return tessera::linear(part, fake, {}, tessera::Precision::float32); });
  fmt::print("{} x {} features\n", rows, width);
  fmt::print("one matrix product      {:8.2f} s by LibTorch, {:.2f} s by PRDC's own\n", product, own);
  fmt::print("features alone          {:8.0f} MiB at most\n", peak_memory_mib());
  const auto print = [&](const char* name, double taken, double figure) {
    fmt::print("{:<22}  {:8.2f} s   {:.2f} x, {:.2f} x its own   {:.0f} MiB at most   ({:.4f})\n", name, taken,
               taken / product, taken / own, peak_memory_mib(), figure);
  };
  tessera::Prdc figures;
  const double balls = seconds([&] { figures = tessera::prdc(real, fake); });
  print("PRDC (two products)", balls, figures.precision);
  double distance = 0;
  const double frechet = seconds([&] { distance = tessera::frechet_distance(real, fake); });
  print("FID", frechet, distance);
}
