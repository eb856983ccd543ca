#include "cli/verbs.h"

namespace tessera::cli {

void register_verbs(CLI::App& app) {
  add_dataset(app);
  add_train(app);
}

}  // namespace tessera::cli
