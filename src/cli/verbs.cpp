#include "cli/verbs.h"

namespace tessera::cli {

void register_verbs(CLI::App& app) {
  add_bench(app);
  add_convert(app);
  add_compare(app);
  add_dataset(app);
  add_evaluate(app);
  add_generate(app);
  add_inpaint(app);
  add_outpaint(app);
  add_reconstruct(app);
  add_serve(app);
  add_stitch(app);
  add_train(app);
  add_import(app);
  add_info(app);
  add_variations(app);
  add_verify(app);
}

}  // namespace tessera::cli
