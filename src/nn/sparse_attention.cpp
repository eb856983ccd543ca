#include "nn/sparse_attention.h"

#include <algorithm>
#include <vector>

#include "nn/layers.h"
#include "runtime/error.h"

namespace tessera {
namespace {

/// One side of the grid, cut into blocks.
struct Side {
  std::int64_t cells, block;

  Side(std::int64_t all, std::int64_t wanted) : cells(all), block(std::min(all, wanted)) {
    while (cells % block != 0) --block;
  }
  std::int64_t blocks() const { return cells / block; }
  std::int64_t seen() const { return std::min(cells, block + 2 * (block / 2)); }
  /// The first cell that block number `number` sees.
  std::int64_t first_seen(std::int64_t number) const {
    return std::clamp<std::int64_t>(number * block - block / 2, 0, cells - seen());
  }
};

torch::Tensor flat(const std::vector<std::int64_t>& cells) {
  return torch::tensor(cells, torch::kInt64);
}

}  // namespace

SparseAttention::SparseAttention(std::int64_t height, std::int64_t width, std::int64_t block, SparsePattern pattern) {
  require(block >= 1, "sparse attention: blocks of {} cells, expected 1 or more", block);
  const Side down(height, block), across(width, block);
  std::vector<std::int64_t> queries, keys;
  const auto cell = [&](std::int64_t row, std::int64_t column) { return row * width + column; };
  if (pattern == SparsePattern::local) {
    groups_ = down.blocks() * across.blocks();
    for (std::int64_t i = 0; i < down.blocks(); ++i) {
      for (std::int64_t j = 0; j < across.blocks(); ++j) {
        for (std::int64_t r = 0; r < down.block; ++r) {
          for (std::int64_t c = 0; c < across.block; ++c)
            queries.push_back(cell(i * down.block + r, j * across.block + c));
        }
        for (std::int64_t r = 0; r < down.seen(); ++r) {
          for (std::int64_t c = 0; c < across.seen(); ++c)
            keys.push_back(cell(down.first_seen(i) + r, across.first_seen(j) + c));
        }
      }
    }
  } else {
    groups_ = down.block * across.block;
    for (std::int64_t r = 0; r < down.block; ++r) {
      for (std::int64_t c = 0; c < across.block; ++c) {
        for (std::int64_t i = 0; i < down.blocks(); ++i) {
          for (std::int64_t j = 0; j < across.blocks(); ++j)
            queries.push_back(cell(i * down.block + r, j * across.block + c));
        }
      }
    }
    keys = queries;
  }
  queries_ = flat(queries);
  keys_ = flat(keys);
  back_ = std::get<1>(queries_.sort());
}

torch::Tensor SparseAttention::operator()(const torch::Tensor& qkv, std::int64_t heads, double scale,
                                          Precision precision, double dropout,
                                          const std::optional<torch::Generator>& generator) const {
  const auto count = qkv.size(0), width = qkv.size(2) / 3;
  require(qkv.dim() == 3 && qkv.size(1) == back_.size(0), "sparse attention: {} cells, expected {}", qkv.size(1),
          back_.size(0));
  const auto device = qkv.device();
  const auto taken = [&](std::int64_t first, std::int64_t last, const torch::Tensor& cells) {
    return qkv.slice(2, first * width, last * width)
        .index_select(1, cells.to(device))
        .view({count * groups_, -1, (last - first) * width});
  };
  const auto q = taken(0, 1, queries_), both = taken(1, 3, keys_);
  const auto k = both.slice(2, 0, width), v = both.slice(2, width, 2 * width);
  torch::Tensor seen;
  if (dropout <= 0) {
    seen = attention(q, k, v, heads, scale, false, precision);
  } else {
    const auto split = [&](const torch::Tensor& x) { return x.unflatten(2, {heads, width / heads}).transpose(1, 2); };
    seen = attend(split(q), split(k), split(v), false, dropout, generator);
  }
  return seen.reshape({count, -1, width}).index_select(1, back_.to(device));
}

}  // namespace tessera
