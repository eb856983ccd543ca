/// Times as `tessera bench` takes them.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

namespace tessera::cli {

double seconds_since(std::chrono::steady_clock::time_point begin);

/// Median of the repeats after one run that does not count, in milliseconds.
double median_ms(std::int64_t repeats, const std::function<void()>& work);

}  // namespace tessera::cli
