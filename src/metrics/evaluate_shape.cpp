#include <algorithm>
#include <nlohmann/json.hpp>

#include "metrics/evaluation.h"
#include "metrics/feature_rows.h"
#include "runtime/error.h"

namespace tessera {
namespace {

torch::Tensor some_rows(const torch::Tensor& features, std::int64_t most, std::uint64_t seed, std::uint64_t subset) {
  if (features.size(0) <= most) return features;
  return features.index_select(0, random_subset(features.size(0), most, seed, subset));
}

nlohmann::ordered_json to_json(const TopologyDivergence& found, std::int64_t batches) {
  return {{"mean", found.mean},
          {"standard_error", found.standard_error},
          {"points", found.points},
          {"others", found.others},
          {"batches", batches}};
}

}  // namespace

void ShapeOptions::validate() const {
  imd.validate();
  topology.validate();
  if (rows < 2) throw UsageError(fmt::format("shape rows {}: expected 2 or more", rows));
}

nlohmann::ordered_json shape_figures(const torch::Tensor& real, const torch::Tensor& fake,
                                     const FeatureNetwork& network, const ShapeOptions& options) {
  options.validate();
  require_features(real, fake, options.imd.k + 1);
  const auto a = some_rows(real, options.rows, options.imd.seed, 0);
  const auto b = some_rows(fake, options.rows, options.imd.seed, 1);
  const auto& topology = options.topology;
  return {{"features", network.label()},
          {"real_images", a.size(0)},
          {"generated_images", b.size(0)},
          {"imd", imd(heat_trace(a, options.imd), heat_trace(b, options.imd), options.imd)},
          {"imd_neighbours", options.imd.k},
          {"mtop_divergence_of_real", to_json(topology_divergence(a, b, topology), topology.batches)},
          {"mtop_divergence_of_generated", to_json(topology_divergence(b, a, topology), topology.batches)}};
}

}  // namespace tessera
