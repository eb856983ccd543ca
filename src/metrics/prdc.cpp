#include "metrics/prdc.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <vector>

#include "kernels/ops/layers.h"
#include "metrics/distance_blocks.h"
#include "metrics/feature_rows.h"
#include "runtime/error.h"

namespace tessera {
namespace {

constexpr std::int64_t kSpare = 4;  // candidates kept beyond the k-th, against float32 putting them in another order
constexpr std::int64_t kRowGrain = 16;  // rows a thread takes at least
constexpr std::int64_t kChunk = 256;    // distances that are looked at together; almost always none of them matters

// The loops below are compiled for several instruction sets and chosen at run time.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define TESSERA_FOR_WIDE_VECTORS __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define TESSERA_FOR_WIDE_VECTORS
#endif

/// Whether norms[i] - 2 products[i] < limit for any i.
TESSERA_FOR_WIDE_VECTORS bool any_below(const float* norms, const float* products, std::int64_t count, float limit) {
  int found = 0;
  for (std::int64_t i = 0; i < count; ++i) found |= norms[i] - 2 * products[i] < limit;
  return found != 0;
}

/// Whether norm - 2 products[i] < limits[i] for any i.
TESSERA_FOR_WIDE_VECTORS bool any_below(float norm, const float* products, std::int64_t count, const float* limits) {
  int found = 0;
  for (std::int64_t i = 0; i < count; ++i) found |= norm - 2 * products[i] < limits[i];
  return found != 0;
}

/// What a chunk of squared distances own + norms[i] - 2 products[i] holds.
struct Found {
  bool below = false;         // one is below `limit`
  bool below_limits = false;  // one is below its own limit
  bool near = false;          // one is so near to a limit that float32 cannot tell
};
TESSERA_FOR_WIDE_VECTORS Found look_at(float own, const float* norms, const float* products, std::int64_t count,
                                       float limit, const float* limits, float rounding) {
  int below = 0, below_limits = 0, near = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const float distance = own + norms[i] - 2 * products[i], slack = rounding * (own + norms[i]);
    below |= distance < limit;
    below_limits |= distance < limits[i];
    near |= (std::abs(distance - limit) <= slack) | (std::abs(distance - limits[i]) <= slack);
  }
  return {below != 0, below_limits != 0, near != 0};
}

/// counts[i] += distance i is below `limit`.
TESSERA_FOR_WIDE_VECTORS void count_below(float own, const float* norms, const float* products, std::int64_t count,
                                          float limit, std::int32_t* counts) {
  for (std::int64_t i = 0; i < count; ++i) counts[i] += own + norms[i] - 2 * products[i] < limit;
}

/// left times right transposed, [rows, columns].
torch::Tensor products_of(const torch::Tensor& left, const torch::Tensor& right) {
  return linear(left, right, {}, Precision::float32).contiguous();
}

/// The smallest distances seen so far of every row, ascending.
class Candidates {
 public:
  Candidates(std::int64_t rows, std::int64_t kept)
      : kept_(kept),
        distance_(static_cast<std::size_t>(rows * kept), std::numeric_limits<float>::infinity()),
        index_(static_cast<std::size_t>(rows * kept), -1) {}

  float worst(std::int64_t row) const { return distance_[static_cast<std::size_t>(row * kept_ + kept_ - 1)]; }
  const float* distances(std::int64_t row) const { return distance_.data() + row * kept_; }
  const std::int64_t* indices(std::int64_t row) const { return index_.data() + row * kept_; }

  void offer(std::int64_t row, float distance, std::int64_t column) {
    float* own = distance_.data() + row * kept_;
    std::int64_t* at = index_.data() + row * kept_;
    if (!(distance < own[kept_ - 1])) return;
    std::int64_t place = kept_ - 1;
    for (; place > 0 && own[place - 1] > distance; --place) {
      own[place] = own[place - 1];
      at[place] = at[place - 1];
    }
    own[place] = distance;
    at[place] = column;
  }

 private:
  std::int64_t kept_;
  std::vector<float> distance_;      // [rows, kept]
  std::vector<std::int64_t> index_;  // [rows, kept]
};

/// Offers a block's distances to its rows and, off the diagonal, to its columns.
void offer_block(const float* products, const DistanceRows& set, std::int64_t i0, std::int64_t rows, std::int64_t j0,
                 std::int64_t columns, Candidates& candidates) {
  const float* norms = set.norms();
  at::parallel_for(0, rows, kRowGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const float* line = products + r * columns;
      const auto row = i0 + r;
      float limit = candidates.worst(row) - norms[row];
      for (std::int64_t first = 0; first < columns; first += kChunk) {
        const auto last = std::min(first + kChunk, columns);
        if (!any_below(norms + j0 + first, line + first, last - first, limit)) continue;
        for (std::int64_t c = first; c < last; ++c) {
          const float part = norms[j0 + c] - 2 * line[c];
          if (part < limit && j0 + c != row) {
            candidates.offer(row, norms[row] + part, j0 + c);
            limit = candidates.worst(row) - norms[row];
          }
        }
      }
    }
  });
  if (i0 == j0) return;
  at::parallel_for(0, columns, kRowGrain, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> limit;
    for (std::int64_t c = begin; c < end; ++c) limit.push_back(candidates.worst(j0 + c) - norms[j0 + c]);
    for (std::int64_t r = 0; r < rows; ++r) {
      const float* line = products + r * columns;
      const float own = norms[i0 + r];
      for (std::int64_t first = begin; first < end; first += kChunk) {
        const auto last = std::min(first + kChunk, end);
        if (!any_below(own, line + first, last - first, limit.data() + (first - begin))) continue;
        for (std::int64_t c = first; c < last; ++c) {
          const float part = own - 2 * line[c];
          if (part < limit[static_cast<std::size_t>(c - begin)]) {
            candidates.offer(j0 + c, norms[j0 + c] + part, i0 + r);
            limit[static_cast<std::size_t>(c - begin)] = candidates.worst(j0 + c) - norms[j0 + c];
          }
        }
      }
    }
  });
}

/// The k-th smallest squared distance of a row in float64.
double exact_radius(const DistanceRows& set, std::int64_t row, std::int64_t k, std::int64_t kept, float largest_norm,
                    const Candidates& candidates) {
  std::vector<double> exact;
  for (std::int64_t i = 0; i < kept; ++i) {
    if (const auto other = candidates.indices(row)[i]; other >= 0) exact.push_back(set.exact(row, set, other));
  }
  const auto nth = exact.begin() + (k - 1);
  std::nth_element(exact.begin(), nth, exact.end());
  const double radius = *nth;
  // A row left out lies at least at the worst kept distance, less the rounding of both.
  const double rounding = static_cast<double>(distance_rounding(set.width())) * (set.norms()[row] + largest_norm);
  const bool all = static_cast<std::int64_t>(exact.size()) == set.count() - 1;
  if (all || static_cast<double>(candidates.worst(row)) - rounding >= radius) return radius;
  exact.clear();
  for (std::int64_t other = 0; other < set.count(); ++other) {
    if (other != row) exact.push_back(set.exact(row, set, other));
  }
  std::nth_element(exact.begin(), exact.begin() + (k - 1), exact.end());
  return exact[static_cast<std::size_t>(k - 1)];
}

torch::Tensor radii_of(const DistanceRows& set, const PrdcOptions& options) {
  const auto count = set.count(), step = options.block_rows;
  const auto kept = std::min(options.k + kSpare, count - 1);
  Candidates candidates(count, kept);
  torch::Tensor products;
  for (std::int64_t i = 0; i < count; i += step) {
    const auto left = set.block(i, std::min(i + step, count));
    for (std::int64_t j = i; j < count; j += step) {
      const auto right = set.block(j, std::min(j + step, count));
      products = products_of(left, right);
      offer_block(products.data_ptr<float>(), set, i, left.size(0), j, right.size(0), candidates);
    }
  }
  const float largest = *std::max_element(set.norms(), set.norms() + count);
  auto radii = torch::empty({count}, torch::kFloat64);
  double* out = radii.data_ptr<double>();
  at::parallel_for(0, count, kRowGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      out[row] = std::sqrt(exact_radius(set, row, options.k, kept, largest, candidates));
    }
  });
  return radii;
}

/// What the comparison of two sets counts.
struct Counts {
  std::vector<std::uint8_t> covered, recalled;  // [N] real rows
  std::vector<std::int64_t> balls;              // [M] real balls that a generated row lies in
};

void count_block(const float* products, const DistanceRows& real, const DistanceRows& fake, const double* real_radii,
                 const double* fake_radii, std::int64_t i0, std::int64_t rows, std::int64_t j0, std::int64_t columns,
                 Counts& counts) {
  const float rounding = distance_rounding(real.width());
  const float* norms = fake.norms() + j0;
  std::vector<float> fake_limits;
  for (std::int64_t c = 0; c < columns; ++c) {
    fake_limits.push_back(static_cast<float>(fake_radii[j0 + c] * fake_radii[j0 + c]));
  }
  std::mutex adding;
  at::parallel_for(0, rows, kRowGrain, [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::int32_t> balls(static_cast<std::size_t>(columns), 0);
    for (std::int64_t r = begin; r < end; ++r) {
      const auto row = i0 + r;
      const float own = real.norms()[row];
      const auto limit = static_cast<float>(real_radii[row] * real_radii[row]);
      const float* line = products + r * columns;
      bool covered = false, recalled = false;
      for (std::int64_t first = 0; first < columns; first += kChunk) {
        const auto count = std::min(kChunk, columns - first);
        const auto found =
            look_at(own, norms + first, line + first, count, limit, fake_limits.data() + first, rounding);
        if (!found.near) {
          covered |= found.below;
          recalled |= found.below_limits;
          if (found.below) count_below(own, norms + first, line + first, count, limit, balls.data() + first);
          continue;
        }
        for (std::int64_t c = first; c < first + count; ++c) {
          const float distance = own + norms[c] - 2 * line[c];
          const float fake_limit = fake_limits[static_cast<std::size_t>(c)];
          const float slack = rounding * (own + norms[c]);
          bool in_real = distance < limit, in_fake = distance < fake_limit;
          if (std::abs(distance - limit) <= slack || std::abs(distance - fake_limit) <= slack) {
            const double exact = std::sqrt(real.exact(row, fake, j0 + c));  // ties are ties of distances
            in_real = exact < real_radii[row];
            in_fake = exact < fake_radii[j0 + c];
          }
          balls[static_cast<std::size_t>(c)] += in_real;
          covered |= in_real;
          recalled |= in_fake;
        }
      }
      if (covered) counts.covered[static_cast<std::size_t>(row)] = 1;
      if (recalled) counts.recalled[static_cast<std::size_t>(row)] = 1;
    }
    const std::lock_guard lock(adding);
    for (std::size_t c = 0; c < balls.size(); ++c) counts.balls[static_cast<std::size_t>(j0) + c] += balls[c];
  });
}

}  // namespace

void PrdcOptions::validate() const {
  if (k < 1) throw UsageError(fmt::format("k {}: expected 1 or more neighbours", k));
  if (block_rows < 1) throw UsageError(fmt::format("block_rows {}: expected 1 or more", block_rows));
}

torch::Tensor neighbour_radii(const torch::Tensor& features, const PrdcOptions& options) {
  options.validate();
  require_features(features, options.k + 1, "features");
  return radii_of(DistanceRows(features, centre_of(features)), options);
}

Prdc prdc(const torch::Tensor& real, const torch::Tensor& fake, const PrdcOptions& options,
          const torch::Tensor& real_radii, const torch::Tensor& fake_radii) {
  options.validate();
  require_features(real, fake, options.k + 1);
  const auto centre = centre_of(real);
  const DistanceRows a(real, centre), b(fake, centre);
  const auto checked = [](const torch::Tensor& radii, std::int64_t rows, const char* what) {
    require(radii.dim() == 1 && radii.size(0) == rows, "{} radii: expected one for each of {} rows", what, rows);
    return radii.to(torch::kFloat64).contiguous();
  };
  const auto of_real = checked(real_radii.defined() ? real_radii : radii_of(a, options), a.count(), "real");
  const auto of_fake = checked(fake_radii.defined() ? fake_radii : radii_of(b, options), b.count(), "generated");
  Counts counts;
  counts.covered.assign(static_cast<std::size_t>(a.count()), 0);
  counts.recalled.assign(static_cast<std::size_t>(a.count()), 0);
  counts.balls.assign(static_cast<std::size_t>(b.count()), 0);
  const auto step = options.block_rows;
  for (std::int64_t i = 0; i < a.count(); i += step) {
    const auto left = a.block(i, std::min(i + step, a.count()));
    for (std::int64_t j = 0; j < b.count(); j += step) {
      const auto right = b.block(j, std::min(j + step, b.count()));
      const auto products = products_of(left, right);
      count_block(products.data_ptr<float>(), a, b, of_real.data_ptr<double>(), of_fake.data_ptr<double>(), i,
                  left.size(0), j, right.size(0), counts);
    }
  }
  const auto share = [](auto begin, auto end) {
    return static_cast<double>(std::count_if(begin, end, [](auto n) { return n > 0; })) /
           static_cast<double>(end - begin);
  };
  Prdc result;
  result.precision = share(counts.balls.begin(), counts.balls.end());
  result.recall = share(counts.recalled.begin(), counts.recalled.end());
  result.coverage = share(counts.covered.begin(), counts.covered.end());
  double pairs = 0;
  for (const auto n : counts.balls) pairs += static_cast<double>(n);
  result.density = pairs / (static_cast<double>(options.k) * static_cast<double>(b.count()));
  return result;
}

}  // namespace tessera
