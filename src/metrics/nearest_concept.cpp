#include "metrics/nearest_concept.h"

#include <algorithm>
#include <map>

#include "metrics/feature_rows.h"
#include "runtime/error.h"

namespace tessera {
namespace {

/// Sums of unit feature rows by concept, and how many there are.
struct Sums {
  torch::Tensor total;                // [C, D] float64
  std::vector<std::int64_t> members;  // C
};

torch::Tensor unit_rows(const torch::Tensor& features) {
  const auto rows = features.to(torch::kFloat64);
  return rows / rows.norm(2, {1}, true).clamp_min(1e-12);
}

/// Of the known pictures that are not of this style (where it has one).
Sums sums_of(const ConceptRows& known, const torch::Tensor& rows, const std::map<std::string, std::int64_t>& number,
             const std::string& style) {
  Sums sums{torch::zeros({static_cast<std::int64_t>(number.size()), rows.size(1)}, torch::kFloat64),
            std::vector<std::int64_t>(number.size(), 0)};
  std::vector<std::int64_t> used, to;
  for (std::size_t i = 0; i < known.concepts.size(); ++i) {
    if (known.concepts[i].empty() || (!style.empty() && known.styles[i] == style)) continue;
    used.push_back(static_cast<std::int64_t>(i));
    to.push_back(number.at(known.concepts[i]));
    ++sums.members[static_cast<std::size_t>(to.back())];
  }
  if (!used.empty()) sums.total.index_add_(0, torch::tensor(to), rows.index_select(0, torch::tensor(used)));
  return sums;
}

}  // namespace

NearestConcept nearest_concept(const ConceptRows& known, const ConceptRows& queries, double confidence) {
  require_features(known.features, queries.features, 1);
  std::map<std::string, std::int64_t> number;
  for (const auto& concept_name : known.concepts) {
    if (!concept_name.empty()) number.try_emplace(concept_name, static_cast<std::int64_t>(number.size()));
  }
  std::vector<std::string> names(number.size());
  for (const auto& [name, place] : number) names[static_cast<std::size_t>(place)] = name;
  const auto rows = unit_rows(known.features), asked = unit_rows(queries.features);
  std::map<std::string, Sums> by_style;
  NearestConcept result;
  std::int64_t first = 0, among_five = 0;
  for (std::size_t i = 0; i < queries.concepts.size(); ++i) {
    result.nearest.emplace_back();
    const auto found = number.find(queries.concepts[i]);
    if (found == number.end()) continue;
    const auto& style = queries.styles[i];
    auto at = by_style.find(style);
    if (at == by_style.end()) at = by_style.emplace(style, sums_of(known, rows, number, style)).first;
    auto total = at->second.total;
    auto members = at->second.members;
    const auto own = queries.rows[i];
    const auto own_place = static_cast<std::size_t>(own);
    const bool counted =
        own >= 0 && !known.concepts[own_place].empty() && (style.empty() || known.styles[own_place] != style);
    if (counted) {
      const auto place = number.at(known.concepts[own_place]);
      total = total.clone();
      total[place] -= rows[own];
      --members[static_cast<std::size_t>(place)];
    }
    if (members[static_cast<std::size_t>(found->second)] == 0) continue;
    auto likeness = torch::matmul(unit_rows(total), asked[static_cast<std::int64_t>(i)]);  // of the means' directions
    std::int64_t there = 0;
    for (std::size_t c = 0; c < members.size(); ++c) {
      if (members[c] > 0) {
        ++there;
      } else {
        likeness[static_cast<std::int64_t>(c)] = -2;
      }
    }
    const auto best = likeness.argmax().item<std::int64_t>();
    result.nearest.back() = names[static_cast<std::size_t>(best)];
    const auto nearer = (likeness > likeness[found->second]).sum().item<std::int64_t>();
    first += best == found->second;
    among_five += nearer < 5;
    ++result.judged;
    result.chance += 1 / static_cast<double>(there);
  }
  require(result.judged > 0, "nearest concept: no picture whose concept is known in another style");
  result.chance /= static_cast<double>(result.judged);
  result.top1 = proportion_interval(first, result.judged, confidence);
  result.top5 = proportion_interval(among_five, result.judged, confidence);
  return result;
}

}  // namespace tessera
