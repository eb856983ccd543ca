#include "sampling/draw.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "runtime/error.h"

namespace tessera {
namespace {

/// Sets mass outside the k largest to zero. Of equal masses the lower code counts as the larger.
void keep_largest(DrawScratch& scratch, std::int64_t k) {
  auto& [mass, order] = scratch;
  order.resize(mass.size());
  std::iota(order.begin(), order.end(), 0);
  const auto larger = [&mass = mass](std::int64_t a, std::int64_t b) {
    return mass[a] != mass[b] ? mass[a] > mass[b] : a < b;
  };
  std::nth_element(order.begin(), order.begin() + k, order.end(), larger);
  for (auto at = order.begin() + k; at != order.end(); ++at) mass[*at] = 0;
}

/// Sets mass to zero but for the fewest largest whose sum reaches `share` of the whole.
void keep_nucleus(DrawScratch& scratch, double share) {
  auto& [mass, heap] = scratch;
  heap.clear();
  double total = 0;
  for (std::size_t code = 0; code < mass.size(); ++code) {
    if (mass[code] > 0) heap.push_back(static_cast<std::int64_t>(code));
    total += mass[code];
  }
  const auto smaller = [&mass = mass](std::int64_t a, std::int64_t b) {
    return mass[a] != mass[b] ? mass[a] < mass[b] : a > b;
  };
  std::make_heap(heap.begin(), heap.end(), smaller);
  double kept = 0;
  while (!heap.empty() && kept < share * total) {
    kept += mass[heap.front()];
    std::pop_heap(heap.begin(), heap.end(), smaller);
    heap.pop_back();
  }
  for (const auto code : heap) mass[code] = 0;
}

/// Sets mass to zero but for the tokens with surprise nearest to the entropy, the fewest whose sum reaches `share` of
/// the whole. Of equal distances the lower code comes first.
void keep_typical(DrawScratch& scratch, double share) {
  auto& [mass, order] = scratch;
  order.clear();
  double total = 0, weighted = 0;  // sum of m, sum of m log m
  for (std::size_t code = 0; code < mass.size(); ++code) {
    if (mass[code] <= 0) continue;
    order.push_back(static_cast<std::int64_t>(code));
    total += mass[code];
    weighted += mass[code] * std::log(mass[code]);
  }
  // With p = m / total: entropy + log p = log m - (sum of m log m) / total; the normaliser cancels.
  const double centre = weighted / total;
  const auto nearer = [&mass = mass, centre](std::int64_t a, std::int64_t b) {
    const double first = std::abs(std::log(mass[a]) - centre), second = std::abs(std::log(mass[b]) - centre);
    return first != second ? first < second : a < b;
  };
  std::sort(order.begin(), order.end(), nearer);
  double kept = 0;
  for (const auto code : order) {
    const double own = mass[code];
    if (kept >= share * total) mass[code] = 0;
    kept += own;
  }
}

}  // namespace

TokenDraw draw_token(const float* logits, std::int64_t codes, double uniform, const DrawOptions& options,
                     DrawScratch& scratch) {
  const float* best = std::max_element(logits, logits + codes);
  const double highest = *best;
  double total = 0;
  scratch.mass.resize(static_cast<std::size_t>(codes));
  for (std::int64_t code = 0; code < codes; ++code) total += scratch.mass[code] = std::exp(logits[code] - highest);
  require(std::isfinite(total), "sampling: the denoiser returned logits that are not finite");
  const double normaliser = std::log(total);
  const auto result = [&](std::int64_t token) { return TokenDraw{token, logits[token] - highest - normaliser}; };
  if (options.temperature == 0 || options.top_k == 1) return result(best - logits);

  if (options.temperature != 1) {
    const double scale = 1 / options.temperature;
    for (std::int64_t code = 0; code < codes; ++code) scratch.mass[code] = std::exp((logits[code] - highest) * scale);
  }
  if (options.top_k > 0 && options.top_k < codes) keep_largest(scratch, options.top_k);
  if (options.top_p < 1) keep_nucleus(scratch, options.top_p);
  if (options.typical_p < 1) keep_typical(scratch, options.typical_p);
  const double point = uniform * std::accumulate(scratch.mass.begin(), scratch.mass.end(), 0.0);
  double below = 0;
  std::int64_t last = best - logits;
  for (std::int64_t code = 0; code < codes; ++code) {
    if (scratch.mass[code] == 0) continue;
    below += scratch.mass[code];
    last = code;
    if (point < below) break;
  }
  return result(last);
}

}  // namespace tessera
