#include "cli/verbs.h"

#include "runtime/log.h"

namespace tessera::cli {
namespace {

/// What every verb that does something has.
void add_quiet(CLI::App& app) {
  for (auto* verb : app.get_subcommands({})) {
    add_quiet(*verb);
    verb->add_flag_callback(
        "-q,--quiet", [] { log().set_level(spdlog::level::warn); },
        "warnings and errors alone on standard error, no progress");
  }
}

}  // namespace

void register_verbs(CLI::App& app) {
  add_bench(app);
  add_caption(app);
  add_completion(app);
  add_convert(app);
  add_compare(app);
  add_dataset(app);
  add_evaluate(app);
  add_generate(app);
  add_inpaint(app);
  add_outpaint(app);
  add_reconstruct(app);
  add_run(app);
  add_serve(app);
  add_stitch(app);
  add_train(app);
  add_import(app);
  add_info(app);
  add_variations(app);
  add_verify(app);
  add_quiet(app);
}

}  // namespace tessera::cli
