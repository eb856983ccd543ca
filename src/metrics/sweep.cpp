#include "metrics/sweep.h"

#include <algorithm>

#include "metrics/plots.h"
#include "metrics/samples.h"
#include "runtime/atomic_file.h"
#include "runtime/error.h"
#include "runtime/log.h"

namespace tessera {

namespace {

double guidance_of(const nlohmann::ordered_json& cell) {
  return cell.value("context_guidance", 1.0);
}

}  // namespace

std::vector<SweepCell> sweep_cells(const FillOptions& base, const SweepAxes& axes) {
  const auto samplers = axes.samplers.empty() ? std::vector<std::string>{base.sampler} : axes.samplers;
  const auto steps = axes.steps.empty() ? std::vector<std::int64_t>{base.steps} : axes.steps;
  const auto temperatures = axes.temperatures.empty() ? std::vector<double>{base.draw.temperature} : axes.temperatures;
  const auto guidances =
      axes.context_guidances.empty() ? std::vector<double>{base.context_guidance} : axes.context_guidances;
  std::vector<SweepCell> cells;
  for (const auto& sampler : samplers) {
    for (const double temperature : temperatures) {
      for (const double guidance : guidances) {
        for (const auto count : steps) {
          SweepCell cell{fmt::format("{}-s{}-t{:g}", sampler, count, temperature), base};
          if (guidance != 1) cell.name += fmt::format("-g{:g}", guidance);
          cell.fill.sampler = sampler;
          cell.fill.steps = count;
          cell.fill.draw.temperature = temperature;
          cell.fill.context_guidance = guidance;
          cell.fill.validate();
          if (count < 1) throw UsageError(fmt::format("steps is {}, expected 1 to 1048576", count));
          cells.push_back(std::move(cell));
        }
      }
    }
  }
  return cells;
}

nlohmann::ordered_json sweep_figures(const SweepCell& cell, const std::filesystem::path& folder, const std::string& key,
                                     const std::function<nlohmann::ordered_json()>& measure) {
  const auto file = folder / (cell.name + ".json");
  if (std::filesystem::exists(file)) {
    const auto kept = nlohmann::ordered_json::parse(read_file(file), nullptr, false);
    if (!kept.is_discarded() && kept.is_object() && kept.value("key", "") == key && kept.contains("figures"))
      return kept["figures"];
    log().info("{}: of other settings or unfinished, measured again", file.string());
  }
  nlohmann::ordered_json figures = settings_of(cell.fill);
  figures.update(measure());
  std::filesystem::create_directories(folder);
  write_file_atomically(file, nlohmann::ordered_json{{"key", key}, {"figures", figures}}.dump(1));
  return figures;
}

std::string sweep_plot(const nlohmann::ordered_json& cells, const std::string& figure, const std::string& label) {
  std::vector<Series> lines;
  bool one_temperature = true, one_guidance = true;
  for (const auto& cell : cells) {
    one_temperature = one_temperature && cell.at("temperature") == cells.at(0).at("temperature");
    one_guidance = one_guidance && guidance_of(cell) == guidance_of(cells.at(0));
  }
  for (const auto& cell : cells) {
    auto name = cell.at("sampler").get<std::string>();
    if (!one_temperature) name += fmt::format(" t {:g}", cell.at("temperature").get<double>());
    if (!one_guidance) name += fmt::format(" guidance {:g}", guidance_of(cell));
    auto line = std::find_if(lines.begin(), lines.end(), [&](const Series& known) { return known.name == name; });
    if (line == lines.end()) line = lines.insert(lines.end(), Series{name, {}, {}});
    line->x.push_back(cell.at("steps").get<double>());
    line->y.push_back(cell.at(figure).get<double>());
  }
  return line_plot(lines, {label + " by steps", "steps", label, true});
}

void add_sweep(const nlohmann::ordered_json& cells, HtmlReport& report) {
  require(cells.is_array() && !cells.empty(), "sweep: no cells");
  report.heading("Sweep of samplers, steps, temperatures and context guidance");
  const auto distance = cells.at(0).value("distance_name", std::string("Fréchet distance"));
  std::vector<std::vector<std::string>> rows = {{"sampler", "steps", "temperature", "context guidance", distance,
                                                 "kernel distance", "precision", "recall", "density", "coverage",
                                                 "evaluations an image", "seconds an image"}};
  for (const auto& cell : cells) {
    const auto number = [&](const char* name) { return number_text(cell.at(name).get<double>()); };
    rows.push_back({cell.at("sampler").get<std::string>(), number("steps"), number("temperature"),
                    number_text(guidance_of(cell)), number("frechet_distance"),
                    number_text(cell.at("kernel_distance").at("mean").get<double>()), number("precision"),
                    number("recall"), number("density"), number("coverage"), number("evaluations_an_image"),
                    number("seconds_an_image")});
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
