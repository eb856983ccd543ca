/// Many sampler settings measured alike: steps x temperature x sampler x context guidance, one cell of figures each,
/// kept on the disk so that a killed sweep goes on where it stopped. Bond-Taylor et al., arXiv:2111.12701, table 3 and
/// figure 6.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "metrics/report.h"
#include "sampling/fill.h"

namespace tessera {

struct SweepAxes {
  std::vector<std::string> samplers;
  std::vector<std::int64_t> steps;
  std::vector<double> temperatures;
  std::vector<double> context_guidances;
};

/// One setting.
struct SweepCell {
  std::string name;  // "ancestral-s50-t0.9", with a guidance other than 1 "..-g2": of its files
  FillOptions fill;
};

/// Every combination, in the order sampler, temperature, guidance, steps; an axis left empty keeps the base's value.
/// Each is validated: an unknown sampler is a UsageError before anything is computed.
std::vector<SweepCell> sweep_cells(const FillOptions& base, const SweepAxes& axes);

/// The figures of one cell, computed by `measure` where <folder>/<name>.json does not hold them under the same key.
nlohmann::ordered_json sweep_figures(const SweepCell& cell, const std::filesystem::path& folder, const std::string& key,
                                     const std::function<nlohmann::ordered_json()>& measure);

/// Table and plots (FID, precision and recall, density and coverage, seconds over steps; a line a sampler,
/// temperature and guidance). In: an array of cells' figures with `sampler`, `steps`, `temperature` and, where it is
/// not 1, `context_guidance`.
void add_sweep(const nlohmann::ordered_json& cells, HtmlReport& report);

/// The plot of one figure ("frechet_distance") over steps, as add_sweep draws it. Out: SVG.
std::string sweep_plot(const nlohmann::ordered_json& cells, const std::string& figure, const std::string& label);

}  // namespace tessera
