/// tessera outpaint: pictures with new surroundings.
#include "cli/edit_run.h"
#include "cli/region_flags.h"
#include "cli/verbs.h"

namespace tessera::cli {
namespace {

struct OutpaintOptions {
  EditFlags edit;
  std::vector<std::string> images;
  PictureFlags reading;
  Borders borders;
};

void outpaint(const CLI::App& verb, const OutpaintOptions& options) {
  validate(options.edit);
  auto pipeline = load_model(options.edit.model);
  std::vector<EditPlan> plans;
  for (const auto& image : options.images) {
    plans.push_back(plan_outpaint(pipeline.codec(), options.reading.read(image), options.borders, options.edit.region));
  }
  run_edits(verb, options.edit, pipeline, repeated(plans, options.edit.count));
}

}  // namespace

void add_outpaint(CLI::App& app) {
  auto options = std::make_shared<OutpaintOptions>();
  auto* verb = app.add_subcommand("outpaint", "continue pictures beyond their borders");
  verb->add_option("-i,--image", options->images, "picture (-: standard input); repeatable")->required();
  verb->add_option("--left", options->borders.left, "pixels to add on the left")->capture_default_str();
  verb->add_option("--right", options->borders.right, "pixels to add on the right")->capture_default_str();
  verb->add_option("--top", options->borders.top, "pixels to add at the top")->capture_default_str();
  verb->add_option("--bottom", options->borders.bottom, "pixels to add at the bottom")->capture_default_str();
  add_reading_flags(*verb, options->reading);
  add_region_flags(*verb, options->edit.region);
  add_edit_flags(*verb, options->edit);
  verb->callback([verb, options] {
    if (!options->edit.server.url.empty()) return run_on_server(*verb, options->edit);
    outpaint(*verb, *options);
  });
}

}  // namespace tessera::cli
