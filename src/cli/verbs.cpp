#include "cli/verbs.h"

namespace tessera::cli {

void register_verbs(CLI::App& app) {
  add_bench(app);
  add_convert(app);
  add_dataset(app);
  add_generate(app);
  add_reconstruct(app);
  add_train(app);
  add_import(app);
  add_info(app);
}

}  // namespace tessera::cli
