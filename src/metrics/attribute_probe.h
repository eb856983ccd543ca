/// Whether a picture shows the attributes that its text names: each is read back by a linear probe that was trained on
/// real pictures' features (Alain and Bengio, "Understanding intermediate layers using linear classifier probes",
/// arXiv:1610.01644). A probe that reads an attribute of real pictures badly says little of pictures that were made, so
/// what counts is the share of both.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <vector>

#include "metrics/confidence.h"

namespace tessera {

/// Feature rows and the value that each of their pictures has of one attribute.
struct AttributeRows {
  torch::Tensor features;           // [n, D]
  std::vector<std::string> values;  // n; empty: not known
};

/// A least-squares classifier: ridge regression of standardised features onto one column a value (1 where the picture
/// has it, else 0), of which the largest is read. The ridge is the one of 1e-4 to 1e2 (times the rows) that reads every
/// fourth row best from the other three. float64; deterministic.
class LinearProbe {
 public:
  /// In: real pictures. Values of fewer than `fewest` pictures are left out. Throws Error where fewer than two are
  /// left.
  LinearProbe(const AttributeRows& known, const std::string& attribute, std::int64_t fewest = 8);

  /// The value of each row, [n].
  std::vector<std::string> read(const torch::Tensor& features) const;
  const std::vector<std::string>& values() const { return values_; }
  bool knows(const std::string& value) const;
  /// The share of the known pictures that have the most frequent value: what reading nothing would get.
  double most_frequent() const { return most_frequent_; }

 private:
  std::vector<std::string> values_;  // ascending
  torch::Tensor mean_, deviation_;   // [D]
  torch::Tensor weights_;            // [D + 1, V], the last row: constants
  double most_frequent_ = 0;
};

/// The share of the rows that are read right, of those whose value the probe knows; Wilson's interval. Throws Error
/// where there are none.
Interval read_right(const LinearProbe& probe, const AttributeRows& rows, double confidence = 0.95);

}  // namespace tessera
