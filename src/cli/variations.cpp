/// tessera variations: pictures near a given one.
#include "cli/edit_run.h"
#include "cli/region_flags.h"
#include "cli/verbs.h"
#include "pipeline/variation_plans.h"
#include "runtime/error.h"

namespace tessera::cli {
namespace {

struct VariationsOptions {
  EditFlags edit;
  RegionFlags regions;
  double strength = 0;  // 0: not given: all cells of the region, or half of the picture's
  bool least_likely = false;
};

void variations(const CLI::App& verb, const VariationsOptions& options) {
  validate(options.edit);
  const bool everywhere = !options.regions.any();
  const double strength = options.strength != 0 ? options.strength : everywhere ? 0.5 : 1.0;
  (void)cells_of_strength(strength, 1);  // refused before the model is loaded
  const auto regions = read_regions(options.regions);
  auto pipeline = load_model(options.edit.model);
  const auto codec = pipeline.codec();
  std::vector<EditPlan> plans;
  for (const auto& region : regions) {
    const auto plan = everywhere ? plan_everywhere(codec, region.image, options.edit.region)
                                 : plan_region(codec, region, options.regions, options.edit.region);
    VariationOptions near{strength, options.least_likely, options.edit.count, options.edit.sampling.seed, plans.size(),
                          {}};
    if (near.least_likely && pipeline.condition() != "none")
      near.conditions = {pipeline.condition_for(prompt_of(options.edit.sampling.options))};
    for (auto& variation : plan_variations(pipeline, plan, options.edit.windows, near)) {
      plans.push_back(std::move(variation));
    }
  }
  run_edits(verb, options.edit, pipeline, plans);
}

}  // namespace

void add_variations(CLI::App& app) {
  auto options = std::make_shared<VariationsOptions>();
  options->edit.count = 9;
  auto* verb = app.add_subcommand("variations",
                                  "pictures near a given one: the same cells, or a share of them, with many seeds");
  add_picture_flags(*verb, options->regions);
  add_region_flags(*verb, options->edit.region);
  add_edit_flags(*verb, options->edit);
  verb->add_option("--strength", options->strength,
                   "share of the cells that are made anew, above 0 to 1 [0.5; 1 in a region]");
  verb->add_flag("--least-likely", options->least_likely,
                 "the cells that the model finds least likely, not random ones");
  verb->callback([verb, options] {
    if (!options->edit.server.url.empty()) return run_on_server(*verb, options->edit);
    variations(*verb, *options);
  });
}

}  // namespace tessera::cli
