#include "cli/verbs.h"

namespace tessera::cli {

void register_verbs(CLI::App& app) {
  (void)app;
}

}  // namespace tessera::cli
