/// tessera generate: new pictures from a bundle.
#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "cli/model_flags.h"
#include "cli/verbs.h"
#include "image/contact_sheet.h"
#include "image/image_io.h"
#include "runtime/error.h"
#include "runtime/log.h"
#include "runtime/progress.h"

namespace tessera::cli {
namespace {

struct GenerateOptions {
  ModelFlags model;
  SamplingFlags sampling;
  std::string output = "generated";
  std::int64_t count = 1, batch = 16;
  bool sheet_only = false, json = false;
};

double seconds_since(std::chrono::steady_clock::time_point then) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - then).count();
}

/// OUTPUT.png is one picture or the contact sheet; any other OUTPUT is a folder of numbered pictures with their sheet.
void generate(const GenerateOptions& options) {
  const auto begin = std::chrono::steady_clock::now();
  if (options.count < 1 || options.count > 100000) throw UsageError(fmt::format("--count {}: expected 1 to 100000", options.count));
  if (options.batch < 1) throw UsageError(fmt::format("--batch {}: expected 1 or more", options.batch));
  auto pipeline = load_model(options.model);
  const auto fill = resolve(options.sampling, pipeline);
  const std::filesystem::path output = options.output;
  const bool one_file = output.extension() == ".png";
  if (!one_file) std::filesystem::create_directories(output);

  std::vector<Image> all;
  nlohmann::json files = nlohmann::json::array();
  std::int64_t evaluations = 0;
  double first_image_seconds = 0;
  {
    Progress progress("generate", 0, options.count, "images");
    for (std::int64_t done = 0; done < options.count; done += options.batch) {
      auto part = fill;
      part.first_image = fill.first_image + static_cast<std::uint64_t>(done);
      const auto now = std::min(options.batch, options.count - done);
      const auto made = pipeline.generate(now, part, [&](const FillProgress& at) {
        progress.update(done, fmt::format("step {}/{}", at.step, at.steps));
        return true;
      });
      if (done == 0) first_image_seconds = seconds_since(begin);
      evaluations += made.report.evaluations;
      for (std::int64_t i = 0; i < now; ++i) {
        all.push_back(to_image(made.images[i]));
        if (one_file || options.sheet_only) continue;
        auto record = to_json(fill);
        record["model"] = std::filesystem::path(options.model.model).filename().string();
        record["image"] = part.first_image + static_cast<std::uint64_t>(i);
        const auto file = output / fmt::format("{:05}.png", part.first_image + static_cast<std::uint64_t>(i));
        write_png(file, all.back(), {{"tessera", record.dump()}, {"Software", std::string("Tessera ") + TESSERA_VERSION}});
        files.push_back(file.string());
      }
      progress.update(done + now, "");
    }
  }
  const auto sheet = one_file ? output : output / "sheet.png";
  auto record = to_json(fill);
  record["model"] = std::filesystem::path(options.model.model).filename().string();
  record["count"] = options.count;
  write_png(sheet, all.size() == 1 && one_file ? all.front() : contact_sheet(all), {{"tessera", record.dump()}});
  const double seconds = seconds_since(begin);
  if (options.json) {
    record["files"] = files;
    record["sheet"] = sheet.string();
    record["evaluations"] = evaluations;
    record["seconds"] = seconds;
    record["seconds_to_first_images"] = first_image_seconds;
    fmt::print("{}\n", record.dump(2));
    return;
  }
  fmt::print("{}\n", sheet.string());
  log().info("{} images in {:.1f} s ({:.2f} s to the first), {} steps, {:.1f} evaluations an image", options.count, seconds,
             first_image_seconds, fill.steps, static_cast<double>(evaluations) / static_cast<double>(options.count));
}

}  // namespace

void add_generate(CLI::App& app) {
  auto options = std::make_shared<GenerateOptions>();
  auto* verb = app.add_subcommand("generate", "make new pictures");
  add_model_flags(*verb, options->model);
  add_sampling_flags(*verb, options->sampling);
  verb->add_option("-o,--output", options->output, "a folder, or FILE.png for one picture or a contact sheet")->capture_default_str();
  verb->add_option("-n,--count", options->count, "pictures")->capture_default_str();
  verb->add_option("-b,--batch", options->batch, "pictures at a time; changes nothing but memory and speed")->capture_default_str();
  verb->add_flag("--sheet-only", options->sheet_only, "write the contact sheet alone");
  verb->add_flag("--json", options->json, "report as JSON on standard output");
  verb->callback([options] { generate(*options); });
}

}  // namespace tessera::cli
