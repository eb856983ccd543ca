#include "cli/stopwatch.h"

#include <algorithm>
#include <vector>

#include "kernels/ops/device.h"
#include "runtime/seconds_since.h"

namespace tessera::cli {

double median_ms(std::int64_t repeats, const std::function<void()>& work) {
  work();
  std::vector<double> times;
  for (std::int64_t i = 0; i < repeats; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    times.push_back(1e3 * seconds_since(begin));
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

double median_ms(torch::Device device, std::int64_t repeats, const std::function<void()>& work) {
  constexpr int kBefore = 3;  // the third call is recorded
  for (int i = 0; !device.is_cpu() && i < kBefore; ++i) work();
  return median_ms(repeats, [&] {
    work();
    wait_for(device);
  });
}

}  // namespace tessera::cli
