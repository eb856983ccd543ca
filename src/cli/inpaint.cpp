/// tessera inpaint: parts of pictures made anew, or all but a kept part.
#include "cli/edit_run.h"
#include "cli/region_flags.h"
#include "cli/verbs.h"
#include "image/contact_sheet.h"
#include "image/image_io.h"
#include "runtime/error.h"

namespace tessera::cli {
namespace {

struct InpaintOptions {
  EditFlags edit;
  RegionFlags regions;
  std::string beside;  // a second bundle, for comparison
};

std::vector<Image> inpaint_with(const CLI::App& verb, const InpaintOptions& options, const EditFlags& edit,
                                const std::vector<RegionOfPicture>& regions) {
  auto pipeline = load_model(edit.model);
  std::vector<EditPlan> plans;
  for (const auto& region : regions)
    plans.push_back(plan_region(pipeline.codec(), region, options.regions, edit.region));
  return run_edits(verb, edit, pipeline, repeated(plans, edit.count));
}

/// The same edits by another model (an autoregressive one beside a bidirectional, say), in a folder of its own, and one
/// sheet of both: a row of the first model's pictures, a row of the second's.
void inpaint(const CLI::App& verb, const InpaintOptions& options) {
  validate(options.edit);
  const std::filesystem::path output = options.edit.output;
  if (!options.beside.empty() && !picture_format(options.edit.output).empty()) {
    throw UsageError(fmt::format("--output {}: expected a folder with --beside", options.edit.output));
  }
  if (!options.regions.any()) throw UsageError("inpaint: expected --mask, --box, --keep-mask or --keep-box");
  const auto regions = read_regions(options.regions);
  auto pictures = inpaint_with(verb, options, options.edit, regions);
  if (options.beside.empty()) return;
  auto other = options.edit;
  other.model.model = options.beside;
  other.sampling.options.keep_common();  // the other model's process decides the rest
  other.output = (output / "beside").string();
  other.partial.clear();
  other.resume = false;
  if (!other.frames.empty()) other.frames = (std::filesystem::path(other.frames) / "beside").string();
  const auto columns = static_cast<int>(pictures.size());
  for (auto& picture : inpaint_with(verb, options, other, regions)) pictures.push_back(std::move(picture));
  write_png(output / "beside.png", contact_sheet(pictures, {columns, 2, {}}),
            sheet_text({{"verb", "inpaint"}, {"command", command_line(verb)}}));
  fmt::print("{}\n", (output / "beside.png").string());
}

}  // namespace

void add_inpaint(CLI::App& app) {
  auto options = std::make_shared<InpaintOptions>();
  auto* verb = app.add_subcommand("inpaint", "make parts of pictures anew, or all but a kept part");
  add_picture_flags(*verb, options->regions);
  add_region_flags(*verb, options->edit.region);
  add_edit_flags(*verb, options->edit);
  verb->add_option("--beside", options->beside, "a second bundle that does the same edits, for comparison");
  verb->callback([verb, options] {
    if (!options->edit.server.url.empty()) return run_on_server(*verb, options->edit);
    inpaint(*verb, *options);
  });
}

}  // namespace tessera::cli
