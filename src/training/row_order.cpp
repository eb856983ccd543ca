#include "training/row_order.h"

#include <numeric>

namespace tessera {
namespace {

std::vector<std::int64_t> permutation(std::int64_t count, Seed seed, std::int64_t epoch) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  const RandomStream random(seed, Purpose::batch_rows, static_cast<std::uint64_t>(epoch), 1);
  for (std::size_t i = order.size(); i > 1; --i) {
    std::swap(order[i - 1], order[random.below(static_cast<std::uint32_t>(i), i)]);
  }
  return order;
}

}  // namespace

torch::Tensor batch_rows(std::int64_t count, std::int64_t batch, Seed seed, std::int64_t step, bool replacement) {
  std::vector<std::int64_t> rows;
  if (replacement) {
    const RandomStream random(seed, Purpose::batch_rows, static_cast<std::uint64_t>(step), 0);
    for (std::int64_t i = 0; i < batch; ++i) {
      rows.push_back(
          static_cast<std::int64_t>(random.below(static_cast<std::uint32_t>(i), static_cast<std::uint64_t>(count))));
    }
    return torch::tensor(rows);
  }
  std::int64_t epoch = -1;
  std::vector<std::int64_t> order;
  for (std::int64_t i = 0; i < batch; ++i) {
    const std::int64_t position = step * batch + i;
    if (position / count != epoch) {
      epoch = position / count;
      order = permutation(count, seed, epoch);
    }
    rows.push_back(order[static_cast<std::size_t>(position % count)]);
  }
  return torch::tensor(rows);
}

}  // namespace tessera
