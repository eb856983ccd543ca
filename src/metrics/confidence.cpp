#include "metrics/confidence.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>

#include "runtime/error.h"

namespace tessera {
namespace {

/// z with P(Z <= z) = p, by bisection of the error function.
double normal_quantile(double p) {
  double low = -40, high = 40;
  for (int i = 0; i < 200; ++i) {
    const double middle = (low + high) / 2;
    (0.5 * std::erfc(-middle / std::numbers::sqrt2) < p ? low : high) = middle;
  }
  return (low + high) / 2;
}

}  // namespace

double student_quantile(double confidence, std::int64_t degrees) {
  require(confidence > 0 && confidence < 1, "confidence {}: expected between 0 and 1", confidence);
  require(degrees >= 1, "Student's t: {} degrees of freedom, expected 1 or more", degrees);
  const double p = (1 + confidence) / 2;
  if (degrees == 1) return std::tan(std::numbers::pi * (p - 0.5));
  if (degrees == 2) return (2 * p - 1) * std::sqrt(2 / (4 * p * (1 - p)));
  const double z = normal_quantile(p), n = static_cast<double>(degrees), s = z * z;
  return z + z * (s + 1) / (4 * n) + z * ((5 * s + 16) * s + 3) / (96 * n * n) +
         z * (((3 * s + 19) * s + 17) * s - 15) / (384 * n * n * n) +
         z * ((((79 * s + 776) * s + 1482) * s - 1920) * s - 945) / (92160 * n * n * n * n);
}

Interval interval_of(const torch::Tensor& values, double confidence) {
  require(values.dim() == 1 && values.size(0) >= 1, "interval: expected one value or more");
  const auto wide = values.to(torch::kCPU, torch::kFloat64);
  require(wide.isfinite().all().item<bool>(), "interval: a value is NaN or infinite");
  Interval interval;
  interval.confidence = confidence;
  interval.count = wide.size(0);
  interval.mean = wide.mean().item<double>();
  interval.low = interval.high = interval.mean;
  if (interval.count < 2) return interval;
  interval.standard_error = wide.std().item<double>() / std::sqrt(static_cast<double>(interval.count));
  const double reach = student_quantile(confidence, interval.count - 1) * interval.standard_error;
  interval.low -= reach;
  interval.high += reach;
  return interval;
}

Interval proportion_interval(std::int64_t hits, std::int64_t count, double confidence) {
  require(count >= 1 && hits >= 0 && hits <= count, "interval: {} of {} hits, expected 0 to {}", hits, count, count);
  require(confidence > 0 && confidence < 1, "confidence {}: expected between 0 and 1", confidence);
  const double n = static_cast<double>(count), share = static_cast<double>(hits) / n;
  const double z = normal_quantile((1 + confidence) / 2), widened = 1 + z * z / n;
  const double middle = (share + z * z / (2 * n)) / widened;
  const double reach = z / widened * std::sqrt(share * (1 - share) / n + z * z / (4 * n * n));
  Interval interval;
  interval.confidence = confidence;
  interval.count = count;
  interval.mean = share;
  interval.standard_error = std::sqrt(share * (1 - share) / n);
  interval.low = std::max(0.0, middle - reach);
  interval.high = std::min(1.0, middle + reach);
  return interval;
}

nlohmann::ordered_json to_json(const Interval& interval) {
  return {{"mean", interval.mean}, {"standard_error", interval.standard_error}, {"low", interval.low},
          {"high", interval.high}, {"confidence", interval.confidence},         {"count", interval.count}};
}

}  // namespace tessera
