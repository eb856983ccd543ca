#include "cli/stopwatch.h"

#include <algorithm>
#include <vector>

namespace tessera::cli {

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

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

}  // namespace tessera::cli
