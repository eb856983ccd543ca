/// Means with confidence intervals, as the reports print them.
#pragma once

#include <torch/torch.h>

#include <nlohmann/json_fwd.hpp>

namespace tessera {

/// A mean over independent values and what it may be off by.
struct Interval {
  double mean = 0;
  double standard_error = 0;  // deviation (divisor n - 1) / sqrt(n); 0 for one value
  double low = 0, high = 0;   // the confidence interval by Student's t
  double confidence = 0.95;
  std::int64_t count = 0;  // n
};

/// In: values [n], n >= 1; confidence in (0, 1). Throws Error on NaN.
Interval interval_of(const torch::Tensor& values, double confidence = 0.95);

/// The share `hits` of `count` with Wilson's score interval, which also says something where all or none hit (Wilson,
/// "Probable inference", 1927). standard_error: sqrt(p (1 - p) / count).
Interval proportion_interval(std::int64_t hits, std::int64_t count, double confidence = 0.95);

/// The two-sided Student t quantile: |t| stays below it with probability `confidence`. In: degrees of freedom >= 1.
/// Abramowitz and Stegun, 26.7.5 and 26.2.23, exact to 1 in 1,000 from 5 degrees of freedom on; 1 and 2 in closed form.
double student_quantile(double confidence, std::int64_t degrees);

nlohmann::ordered_json to_json(const Interval& interval);

}  // namespace tessera
