#include "metrics/sweep.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>

#include "data/content_hash.h"
#include "metrics/plots.h"
#include "metrics/samples.h"
#include "runtime/atomic_file.h"
#include "runtime/bounded_json.h"
#include "runtime/error.h"
#include "runtime/lease.h"
#include "runtime/log.h"
#include "runtime/stop_signal.h"
#include "sampling/registry.h"

namespace tessera {

namespace {

/// Axes in the order in which a reader scans a table: the sampler first, the steps last.
std::vector<std::string> ordered_axes(const SweepAxes& axes) {
  std::vector<std::string> names;
  for (const auto& field : SamplingOptions::fields()) {
    if (axes.count(field.name) && field.name != "steps") names.push_back(field.name);
  }
  if (axes.count("steps")) names.emplace_back("steps");
  return names;
}

std::string hash_of(const nlohmann::ordered_json& figures) {
  return ContentHash().add(figures.dump()).hex();
}

std::string short_number(double value) {
  return fmt::format("{:g}", value);
}

/// What a cell is called beside "SAMPLER-sSTEPS-tTEMPERATURE".
std::string suffix_of(const std::string& name, const OptionValue& value) {
  const auto* number = std::get_if<double>(&value);
  const auto text = number ? short_number(*number) : text_of(value);
  return name == "context_guidance" ? "-g" + text : fmt::format("-{}-{}", name, text);
}

std::string cell_name(const FillOptions& fill, const SweepAxes& axes) {
  auto name = fmt::format("{}-s{}-t{:g}", fill.sampler, fill.steps, fill.draw.temperature);
  const auto used = fill.used();
  for (const auto& [option, value] : used.given()) {
    if (option == "sampler" || option == "steps" || option == "temperature" || !axes.count(option)) continue;
    name += suffix_of(option, value);
  }
  return name;
}

/// What of a cell's figures is a setting: it tells lines of a plot and rows of a table apart.
std::vector<std::string> settings_in(const nlohmann::ordered_json& cells) {
  std::vector<std::string> names;
  for (const auto& field : SamplingOptions::fields()) {
    if (std::any_of(cells.begin(), cells.end(), [&](const auto& cell) { return cell.contains(field.name); }))
      names.push_back(field.name);
  }
  return names;
}

std::string setting_text(const nlohmann::ordered_json& cell, const std::string& name) {
  if (!cell.contains(name)) return name == "context_guidance" ? "1" : "";
  const auto& value = cell.at(name);
  return value.is_string() ? value.get<std::string>() : short_number(value.get<double>());
}

/// The settings, but for sampler and steps, in which the cells differ.
std::vector<std::string> differing(const nlohmann::ordered_json& cells) {
  std::vector<std::string> names;
  for (const auto& name : settings_in(cells)) {
    if (name == "sampler" || name == "steps") continue;
    const auto first = setting_text(cells.at(0), name);
    if (std::any_of(cells.begin(), cells.end(), [&](const auto& cell) { return setting_text(cell, name) != first; }))
      names.push_back(name);
  }
  return names;
}

/// The name of a setting within a line's name.
std::string words_of(const std::string& name) {
  if (name == "temperature") return "t";
  if (name == "context_guidance") return "guidance";
  return name;
}

}  // namespace

std::vector<SweepCell> sweep_cells(const FillOptions& base, const SweepAxes& axes) {
  std::vector<FillOptions> settings = {base};
  for (const auto& name : ordered_axes(axes)) {
    std::vector<FillOptions> next;
    for (const auto& setting : settings) {
      if (!SamplingOptions::is_used(SamplingOptions::field(name), samplers().at(setting.sampler))) {
        next.push_back(setting);
        continue;
      }
      for (const auto& value : axes.at(name)) {
        auto changed = setting;
        changed.take(SamplingOptions().set(name, value));
        changed.validate();
        if (changed.steps < 1) throw UsageError(fmt::format("steps is {}, expected 1 to 1048576", changed.steps));
        next.push_back(std::move(changed));
      }
    }
    settings = std::move(next);
  }
  std::vector<SweepCell> cells;
  for (auto& setting : settings) {
    auto name = cell_name(setting, axes);
    cells.push_back({std::move(name), std::move(setting)});
  }
  return cells;
}

namespace {

/// What the file of a cell holds under this key; discarded where it does not.
nlohmann::ordered_json stored_figures(const std::filesystem::path& file, const std::string& key) {
  if (!std::filesystem::exists(file)) return nlohmann::ordered_json::value_t::discarded;
  auto kept = ordered_json_or_discarded(read_file(file));
  // Files of earlier versions have no hash; a damaged one has another, or no longer its key.
  if (!kept.is_discarded() && kept.is_object() && kept.contains("key") && kept["key"] == key &&
      kept.contains("figures") && kept.size() == (kept.contains("hash") ? 3U : 2U) &&
      (!kept.contains("hash") || kept["hash"] == hash_of(kept["figures"])))
    return kept["figures"];
  return nlohmann::ordered_json::value_t::discarded;
}

std::filesystem::path file_of(const SweepCell& cell, const std::filesystem::path& folder) {
  return folder / (cell.name + ".json");
}

}  // namespace

nlohmann::ordered_json sweep_figures(const SweepCell& cell, const std::filesystem::path& folder, const std::string& key,
                                     const std::function<nlohmann::ordered_json()>& measure) {
  const auto file = file_of(cell, folder);
  if (auto stored = stored_figures(file, key); !stored.is_discarded()) return stored;
  if (std::filesystem::exists(file))
    log().info("{}: of other settings, damaged or unfinished, measured again", file.string());
  nlohmann::ordered_json figures = settings_of(cell.fill);
  figures.update(measure());
  std::filesystem::create_directories(folder);
  write_file_atomically(file,
                        nlohmann::ordered_json{{"key", key}, {"figures", figures}, {"hash", hash_of(figures)}}.dump(1));
  return figures;
}

nlohmann::ordered_json sweep_all(const std::vector<SweepCell>& cells, const SweepWork& work) {
  std::vector<std::optional<nlohmann::ordered_json>> found(cells.size());
  std::vector<std::string> keys;
  for (const auto& cell : cells) keys.push_back(work.key(cell));
  const StopSignal stop;
  for (std::string told;;) {
    std::size_t missing = 0;
    bool advanced = false;
    std::string holder;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (found[i]) continue;
      const auto& cell = cells[i];
      if (stop.requested())
        throw Interrupted("sweep: interrupted; the same command goes on with the cells that are missing");
      if (auto stored = stored_figures(file_of(cell, work.folder), keys[i]); !stored.is_discarded()) {
        found[i] = std::move(stored);
      } else if (const Lease lease(work.folder / cell.name, work.lease_silence); lease.is_held()) {
        log().info("sweep: cell {} of {}: {}", i + 1, cells.size(), cell.name);
        found[i] = sweep_figures(cell, work.folder, keys[i], [&] { return work.measure(cell); });
      } else {
        ++missing;
        holder = fmt::format("{}, with {}", cell.name, lease.holder());
        continue;
      }
      advanced = true;
    }
    if (missing == 0) break;
    if (advanced) continue;
    if (holder != told) log().info("sweep: waits for {} of {} cells, among them {}", missing, cells.size(), holder);
    told = holder;
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
  }
  auto all = nlohmann::ordered_json::array();
  for (auto& figures : found) all.push_back(std::move(*figures));
  return all;
}

std::string sweep_plot(const nlohmann::ordered_json& cells, const std::string& figure, const std::string& label) {
  std::vector<Series> lines;
  const auto names = differing(cells);
  for (const auto& cell : cells) {
    auto name = cell.at("sampler").get<std::string>();
    for (const auto& setting : names) {
      const auto text = setting_text(cell, setting);
      if (!text.empty()) name += fmt::format(" {} {}", words_of(setting), text);
    }
    auto line = std::find_if(lines.begin(), lines.end(), [&](const Series& known) { return known.name == name; });
    if (line == lines.end()) line = lines.insert(lines.end(), Series{name, {}, {}});
    line->x.push_back(cell.value("steps", cell.value("evaluations_an_image", 1.0)));
    line->y.push_back(cell.at(figure).get<double>());
  }
  return line_plot(lines, {label + " by steps", "steps", label, true});
}

void add_sweep(const nlohmann::ordered_json& cells, HtmlReport& report) {
  require(cells.is_array() && !cells.empty(), "sweep: no cells");
  report.heading("Sweep of sampling options");
  const auto distance = cells.at(0).value("distance_name", std::string("Fréchet distance"));
  const auto settings = settings_in(cells);
  std::vector<std::string> head;
  for (auto name : settings) {
    std::replace(name.begin(), name.end(), '_', ' ');
    head.push_back(name);
  }
  for (const auto* name :
       {"kernel distance", "precision", "recall", "density", "coverage", "evaluations an image", "seconds an image"}) {
    if (name == std::string("kernel distance")) head.push_back(distance);
    head.emplace_back(name);
  }
  std::vector<std::vector<std::string>> rows = {head};
  for (const auto& cell : cells) {
    const auto number = [&](const char* name) { return number_text(cell.at(name).get<double>()); };
    std::vector<std::string> row;
    for (const auto& name : settings) row.push_back(setting_text(cell, name));
    row.insert(row.end(), {number("frechet_distance"), number_text(cell.at("kernel_distance").at("mean").get<double>()),
                           number("precision"), number("recall"), number("density"), number("coverage"),
                           number("evaluations_an_image"), number("seconds_an_image")});
    rows.push_back(std::move(row));
  }
  report.paragraph(cells.at(0).at("features").get<std::string>());
  report.table(rows);
  for (const auto& [figure, label] :
       std::vector<std::pair<std::string, std::string>>{{"frechet_distance", distance},
                                                        {"precision", "Precision"},
                                                        {"recall", "Recall"},
                                                        {"density", "Density"},
                                                        {"coverage", "Coverage"},
                                                        {"seconds_an_image", "Seconds an image"}}) {
    report.plot(sweep_plot(cells, figure, label));
  }
}

}  // namespace tessera
