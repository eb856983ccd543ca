/// tessera variations: pictures near a given one.
#include "canvas/variations.h"

#include "cli/edit_run.h"
#include "cli/region_flags.h"
#include "cli/verbs.h"
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
  const auto& seed = options.edit.sampling.fill.seed;
  std::vector<EditPlan> plans;
  for (const auto& region : regions) {
    EditPlan plan;
    if (everywhere) {
      // Changes are all over the picture: the decode as it is.
      auto whole = options.edit.region;
      whole.feather = 0;
      plan = plan_inpaint(codec, region.image, PixelMask(region.image->width, region.image->height).inverted(), whole);
    } else {
      plan = plan_region(codec, region, options.regions, options.edit.region);
    }
    const auto eligible = plan.codes == plan.codebook_size;
    const auto count = cells_of_strength(strength, eligible.sum().item<std::int64_t>());
    torch::Tensor likelihoods;
    if (options.least_likely) {
      likelihoods =
          token_log_probabilities(pipeline.prior(), pipeline.prior_options().grid, options.edit.windows,
                                            plan.original, pipeline.fill_process().get());
    }
    for (std::int64_t i = 0; i < options.edit.count; ++i) {
      const auto cells = options.least_likely ? least_likely_cells(likelihoods, eligible, count)
                                              : random_cells(eligible, count, seed, plans.size());
      plans.push_back(with_cells(plan, cells));
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
  verb->callback([verb, options] { variations(*verb, *options); });
}

}  // namespace tessera::cli
