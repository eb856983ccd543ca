#include "cli/verbs.h"

namespace tessera::cli {

void register_verbs(CLI::App& app) {
  add_import(app);
  add_info(app);
}

}  // namespace tessera::cli
