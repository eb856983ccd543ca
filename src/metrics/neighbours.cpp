#include "metrics/neighbours.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "image/contact_sheet.h"
#include "metrics/distance_blocks.h"
#include "metrics/feature_rows.h"
#include "runtime/error.h"
#include "runtime/progress.h"

namespace tessera {
namespace {

constexpr std::int64_t kSpareNeighbours = 8;  // candidates beyond k, against float32 putting them in another order

/// The smallest values of every row so far, merged with those of another block.
struct Smallest {
  torch::Tensor value, index;  // [n, kept]

  void merge(const torch::Tensor& values, std::int64_t first_index, std::int64_t kept) {
    const auto places = (torch::arange(values.size(1)) + first_index).expand_as(values);
    const auto all = value.defined() ? torch::cat({value, values}, 1) : values;
    const auto at = value.defined() ? torch::cat({index, places}, 1) : places;
    const auto [least, where] = all.topk(std::min(kept, all.size(1)), 1, false, true);
    value = least;
    index = at.gather(1, where);
  }
};

}  // namespace

Neighbours nearest_features(const torch::Tensor& queries, const torch::Tensor& base, std::int64_t k,
                            std::int64_t block_rows) {
  if (k < 1) throw UsageError(fmt::format("neighbours {}: expected 1 or more", k));
  require_features(base, queries, 1);
  require(base.size(0) >= k, "neighbours: {} pictures to search, expected at least {}", base.size(0), k);
  const auto centre = centre_of(base);
  const DistanceRows a(queries, centre), b(base, centre);
  const auto norms = torch::from_blob(const_cast<float*>(b.norms()), {b.count()}, torch::kFloat32);
  const auto all = a.block(0, a.count());
  Smallest smallest;
  for (std::int64_t start = 0; start < b.count(); start += block_rows) {
    const auto last = std::min(start + block_rows, b.count());
    smallest.merge(norms.slice(0, start, last) - 2 * torch::mm(all, b.block(start, last).t()), start,
                   k + kSpareNeighbours);
  }
  Neighbours result{torch::empty({a.count(), k}, torch::kInt64), torch::empty({a.count(), k}, torch::kFloat64)};
  for (std::int64_t row = 0; row < a.count(); ++row) {
    std::vector<std::pair<double, std::int64_t>> exact;
    for (std::int64_t i = 0; i < smallest.index.size(1); ++i) {
      const auto other = smallest.index[row][i].item<std::int64_t>();
      exact.emplace_back(a.exact(row, b, other), other);
    }
    std::sort(exact.begin(), exact.end());
    for (std::int64_t i = 0; i < k; ++i) {
      result.index[row][i] = exact[static_cast<std::size_t>(i)].second;
      result.distance[row][i] = std::sqrt(exact[static_cast<std::size_t>(i)].first);
    }
  }
  return result;
}

Neighbours nearest_lpips(const torch::Tensor& queries, const ImageStream& base, const Lpips& lpips, std::int64_t k,
                         std::int64_t batch) {
  const torch::NoGradGuard no_grad;
  if (k < 1) throw UsageError(fmt::format("neighbours {}: expected 1 or more", k));
  require(base.count() >= k, "neighbours: {} pictures to search, expected at least {}", base.count(), k);
  const auto points_of = [&](const torch::Tensor& bytes) {
    return lpips.embedding(bytes.to(torch::kFloat32) / 127.5 - 1);
  };
  std::vector<torch::Tensor> parts;
  for (std::int64_t start = 0; start < queries.size(0); start += batch) {
    parts.push_back(points_of(queries.slice(0, start, std::min(start + batch, queries.size(0)))));
  }
  const auto points = torch::cat(parts);
  const auto own = points.square().sum(1, true);
  Smallest smallest;
  std::int64_t done = 0;
  Progress progress("nearest by LPIPS", 0, base.count(), "images");
  base.read(batch, [&](const std::vector<torch::Tensor>& images) {
    for (const auto& image : images) {
      require(image.sizes() == queries[0].sizes(),
              "LPIPS: a picture of {}x{}, the samples are {}x{}; expected one size", image.size(2), image.size(1),
              queries.size(3), queries.size(2));
    }
    const auto others = points_of(torch::stack(images));
    smallest.merge(own + others.square().sum(1) - 2 * torch::mm(points, others.t()), done, k);
    done += static_cast<std::int64_t>(images.size());
    progress.update(done, "");
  });
  return {smallest.index, smallest.value.to(torch::kFloat64).clamp_min(0)};
}

Image neighbours_sheet(const torch::Tensor& queries, const torch::Tensor& base, const Neighbours& neighbours) {
  std::vector<Image> pictures;
  for (std::int64_t row = 0; row < queries.size(0); ++row) {
    pictures.push_back(to_image(queries[row]));
    for (std::int64_t i = 0; i < neighbours.index.size(1); ++i) {
      pictures.push_back(to_image(base[neighbours.index[row][i].item<std::int64_t>()]));
    }
  }
  ContactSheetOptions options;
  options.columns = static_cast<int>(neighbours.index.size(1) + 1);
  return contact_sheet(pictures, options);
}

}  // namespace tessera
