/// Many sampler settings measured alike: every combination of the options named, one cell of figures each, kept on the
/// disk so that a killed sweep goes on where it stopped. Bond-Taylor et al., arXiv:2111.12701, table 3 and
/// figure 6.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "metrics/report.h"
#include "sampling/fill.h"

namespace tessera {

/// The values of each option that is swept, by its name.
using SweepAxes = std::map<std::string, std::vector<OptionValue>>;

/// One setting.
struct SweepCell {
  std::string name;  // "ancestral-s50-t0.9", with what else is swept "..-g2", "..-purity-1": of its files
  FillOptions fill;
};

/// Every combination, the sampler changing slowest and the steps fastest; what no axis names keeps the base's value. A
/// combination whose sampler does not use an option keeps one cell of it. Each is validated: an unknown sampler is a
/// UsageError before anything is computed.
std::vector<SweepCell> sweep_cells(const FillOptions& base, const SweepAxes& axes);

/// The figures of one cell, computed by `measure` where <folder>/<name>.json does not hold them under the same key.
nlohmann::ordered_json sweep_figures(const SweepCell& cell, const std::filesystem::path& folder, const std::string& key,
                                     const std::function<nlohmann::ordered_json()>& measure);

/// What many cells need.
struct SweepWork {
  std::filesystem::path folder;
  std::function<std::string(const SweepCell&)> key;
  std::function<nlohmann::ordered_json(const SweepCell&)> measure;
  double lease_silence = 60;  // seconds after which a cell of a process that fell silent is taken over
};

/// The figures of all cells in their order. Any number of processes, also on other machines that see the folder, may
/// call this for the same cells at once: each measures those that no other holds a lease on (runtime/lease.h), and
/// waits for the others' at the end.
nlohmann::ordered_json sweep_all(const std::vector<SweepCell>& cells, const SweepWork& work);

/// Table and plots (distance, precision and recall, density and coverage, seconds over steps; a line for each
/// combination of the settings that differ). In: an array of cells' figures beside the settings that each used.
void add_sweep(const nlohmann::ordered_json& cells, HtmlReport& report);

/// The plot of one figure ("frechet_distance") over steps, as add_sweep draws it. Out: SVG.
std::string sweep_plot(const nlohmann::ordered_json& cells, const std::string& figure, const std::string& label);

}  // namespace tessera
